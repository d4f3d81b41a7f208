"""A cursor over bytes that refuses to read beyond their end."""

from __future__ import annotations

from services.chain_gateway.stacks.errors import CodecError


class Reader:
    """Reads big-endian fields in order; each read raises `CodecError` when the bytes run out."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._offset = 0

    @property
    def offset(self) -> int:
        """How many bytes were read."""
        return self._offset

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._offset

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self._offset + length
        if end > len(self._data):
            raise CodecError(f"truncated: {length} bytes wanted, {self.remaining} left")
        piece = self._data[self._offset : end]
        self._offset = end
        return piece

    def unsigned(self, width: int) -> int:
        """The next `width` bytes as an unsigned big-endian number."""
        return int.from_bytes(self.take(width), "big")

    def prefixed(self, width: int, limit: int) -> bytes:
        """Bytes whose length comes first, in `width` bytes, and is at most `limit`."""
        length = self.unsigned(width)
        if length > limit:
            raise CodecError(f"length {length} is above the limit {limit}")
        return self.take(length)

    def end(self) -> None:
        """Refuses trailing bytes."""
        if self.remaining:
            raise CodecError(f"{self.remaining} trailing bytes")
