"""A cursor over bytes that refuses to read beyond their end."""

from __future__ import annotations

from services.chain_gateway.stacks.errors import CodecError


class Reader:
    """Reads big-endian fields in order; each read raises `CodecError` when the bytes run out."""

    __slots__ = ("_data", "_length", "offset")

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._length = len(self._data)
        self.offset = 0
        """How many bytes were read."""

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self._length - self.offset

    def byte(self) -> int:
        """The next byte as a number."""
        offset = self.offset
        if offset >= self._length:
            raise self._truncated(1)
        self.offset = offset + 1
        return self._data[offset]

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        offset = self.offset
        end = offset + length
        if end > self._length:
            raise self._truncated(length)
        self.offset = end
        return self._data[offset:end]

    # Those below do what they could have `take` do: most of the time of decoding goes into such calls.
    def unsigned(self, width: int) -> int:
        """The next `width` bytes as an unsigned big-endian number."""
        offset = self.offset
        end = offset + width
        if end > self._length:
            raise self._truncated(width)
        self.offset = end
        return int.from_bytes(self._data[offset:end], "big")

    def prefixed(self, width: int, limit: int) -> bytes:
        """Bytes whose length comes first, in `width` bytes, and is at most `limit`."""
        length = self.unsigned(width)
        if length > limit:
            raise CodecError(f"length {length} is above the limit {limit}")
        offset = self.offset
        end = offset + length
        if end > self._length:
            raise self._truncated(length)
        self.offset = end
        return self._data[offset:end]

    def short(self) -> bytes:
        """Bytes whose length comes first, in one byte."""
        start = self.offset + 1
        if start > self._length:
            raise self._truncated(1)
        end = start + self._data[start - 1]
        if end > self._length:
            self.offset = start
            raise self._truncated(end - start)
        self.offset = end
        return self._data[start:end]

    def _truncated(self, wanted: int) -> CodecError:
        return CodecError(f"truncated: {wanted} bytes wanted, {self.remaining} left")

    def rest(self) -> bytes:
        """The bytes that are left, without reading them."""
        return self._data[self.offset :]

    def end(self) -> None:
        """Refuses trailing bytes."""
        if self.remaining:
            raise CodecError(f"{self.remaining} trailing bytes")
