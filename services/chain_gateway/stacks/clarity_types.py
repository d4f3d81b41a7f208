"""Clarity values. Each checks itself when made and raises `CodecError`: no bad one can be serialized."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.chain_gateway.stacks.c32 import Address, parse_address
from services.chain_gateway.stacks.errors import CodecError

MAX_DEPTH = 32
"""Deepest nesting of a value, its own level included (the node's limit for types)."""
MAX_VALUE_BYTES = 1_048_576
"""Longest buffer or text, and longest serialization that is read (the node's limit for one value)."""

_NAME = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9\-_!?+<>=/*]{0,127}|[-+=/*]|[<>]=?)")
_CONTRACT_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9\-_]{0,39}")
_ASCII = re.compile(r"[ -~\t\n\f\r]*")


def check_name(name: str) -> str:
    """Gives back a valid Clarity name (of a function, key, or asset); raises `CodecError` for another."""
    if not isinstance(name, str) or not _is_name(name):
        raise CodecError("not a Clarity name")
    return name


@functools.lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    """Remembered: the keys of a contract's tuples are the same few each time."""
    return _NAME.fullmatch(name) is not None


def check_contract_name(name: str) -> str:
    """Gives back a valid contract name of at most 40 characters; raises `CodecError` for another."""
    if not isinstance(name, str) or not _CONTRACT_NAME.fullmatch(name):
        raise CodecError("not a contract name")
    return name


_HIGHEST_INT = (1 << 127) - 1
_HIGHEST_UINT = (1 << 128) - 1


def _check_integer(number: int, low: int, high: int) -> None:
    if type(number) is int and low <= number <= high:
        return
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise CodecError("not an integer of 128 bits")


def _check_length(data: bytes | str) -> None:
    if len(data) > MAX_VALUE_BYTES:
        raise CodecError("longer than a Clarity value may be")


@dataclass(frozen=True, slots=True)
class Int:
    """A signed integer of 128 bits."""

    value: int

    def __post_init__(self) -> None:
        _check_integer(self.value, -_HIGHEST_INT - 1, _HIGHEST_INT)


@dataclass(frozen=True, slots=True)
class UInt:
    """An unsigned integer of 128 bits."""

    value: int

    def __post_init__(self) -> None:
        _check_integer(self.value, 0, _HIGHEST_UINT)


@dataclass(frozen=True, slots=True)
class Bool:
    """true or false."""

    value: bool

    def __post_init__(self) -> None:
        if not isinstance(self.value, bool):
            raise CodecError("not a bool")


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes."""

    value: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.value, bytes):
            raise CodecError("a buffer holds bytes")
        _check_length(self.value)


@dataclass(frozen=True, slots=True)
class StringAscii:
    """Text of printable ASCII and white space."""

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str) or not _ASCII.fullmatch(self.value):
            raise CodecError("not a string-ascii")
        _check_length(self.value)


@dataclass(frozen=True, slots=True)
class StringUtf8:
    """Text that UTF-8 can express (no lone surrogates)."""

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise CodecError("not a string-utf8")
        try:
            encoded = self.value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CodecError("not a string-utf8") from error
        _check_length(encoded)


@dataclass(frozen=True, slots=True)
class StandardPrincipal:
    """An account."""

    address: Address

    @property
    def text(self) -> str:
        """The address as people write it."""
        return self.address.text


@dataclass(frozen=True, slots=True)
class ContractPrincipal:
    """A contract: the account that deployed it and its name."""

    address: Address
    name: str

    def __post_init__(self) -> None:
        check_contract_name(self.name)

    @property
    def text(self) -> str:
        """``ADDRESS.name``."""
        return f"{self.address.text}.{self.name}"


@dataclass(frozen=True, slots=True)
class NoneValue:
    """none."""


@dataclass(frozen=True, slots=True)
class Some:
    """(some value)."""

    value: ClarityValue


@dataclass(frozen=True, slots=True)
class ResponseOk:
    """(ok value)."""

    value: ClarityValue


@dataclass(frozen=True, slots=True)
class ResponseErr:
    """(err value)."""

    value: ClarityValue


@dataclass(frozen=True, slots=True)
class ListValue:
    """A list; that all items share one type is left to the contract that receives it."""

    items: tuple[ClarityValue, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))


@dataclass(frozen=True, slots=True)
class TupleValue:
    """Named values. Two tuples are equal whatever the order of their keys; serialization sorts them."""

    fields: Mapping[str, ClarityValue]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", dict(self.fields))
        if not self.fields:
            raise CodecError("a tuple has at least one key")
        for name in self.fields:
            check_name(name)

    def __getitem__(self, name: str) -> ClarityValue:
        """The value under `name`; raises `CodecError` when there is none."""
        try:
            return self.fields[name]
        except KeyError as error:
            raise CodecError(f"the tuple has no key {name!r}") from error

    def __hash__(self) -> int:
        return hash(frozenset(self.fields.items()))


Principal = StandardPrincipal | ContractPrincipal
ClarityValue = (
    Int
    | UInt
    | Bool
    | Buffer
    | StandardPrincipal
    | ContractPrincipal
    | ResponseOk
    | ResponseErr
    | NoneValue
    | Some
    | ListValue
    | TupleValue
    | StringAscii
    | StringUtf8
)


def parse_principal(text: str) -> Principal:
    """Reads ``ADDRESS`` or ``ADDRESS.contract-name``; raises `CodecError` for anything else."""
    if not isinstance(text, str):
        raise CodecError("not a principal")
    account, dot, name = text.partition(".")
    address = parse_address(account)
    return ContractPrincipal(address, name) if dot else StandardPrincipal(address)
