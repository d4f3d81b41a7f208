"""What the codec raises."""

from __future__ import annotations


class CodecError(ValueError):
    """Bytes or values that are not well formed: truncated, trailing, out of range, not canonical.

    Every function of the codec ends in a value or in this error, whatever it is given.
    """


class SignatureError(CodecError):
    """A signature that is malformed, not low-s, or does not belong to the claimed key or address."""


class MissingSignature(SignatureError):
    """Nobody signed yet, or fewer owners of a shared account than it takes."""
