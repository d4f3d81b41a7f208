"""Post-conditions: what a transaction may move, checked by the node after it ran (SIP-005)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from services.chain_gateway.stacks.c32 import Address, parse_address
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    ContractPrincipal,
    Principal,
    StandardPrincipal,
    check_contract_name,
    check_name,
    read_value,
    serialize,
)
from services.chain_gateway.stacks.clarity_read import read_address, read_contract_name, read_name
from services.chain_gateway.stacks.clarity_write import address_bytes, name_bytes
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.reader import Reader

_Code = TypeVar("_Code", bound=IntEnum)
_ORIGIN = 0x01
_STANDARD = 0x02
_CONTRACT = 0x03


class _Kind(IntEnum):
    STX = 0x00
    FT = 0x01
    NFT = 0x02
    STAKING = 0x03
    POX = 0x04


class PostConditionMode(IntEnum):
    """What happens to transfers that no post-condition names. ORIGINATOR needs a recent epoch."""

    ALLOW = 1
    DENY = 2
    ORIGINATOR = 3
    """Deny for the originator's assets, allow for those of others."""


class FungibleCode(IntEnum):
    """How the amount sent must compare with the one named."""

    EQUAL = 1
    GREATER = 2
    GREATER_OR_EQUAL = 3
    LESS = 4
    LESS_OR_EQUAL = 5


class NonFungibleCode(IntEnum):
    """Whether the item was sent. MAYBE_SENT needs a recent epoch."""

    SENT = 0x10
    NOT_SENT = 0x11
    MAYBE_SENT = 0x12


class PoxCode(IntEnum):
    """Whether the principal acts on stacking at all."""

    WILL_NOT_PERFORM = 0x30
    MAY_PERFORM = 0x31
    WILL_PERFORM = 0x32


@dataclass(frozen=True, slots=True)
class Origin:
    """Stands for whoever signs the transaction."""


ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Asset:
    """A token: the contract that defines it and its name there."""

    address: Address
    contract_name: str
    asset_name: str

    def __post_init__(self) -> None:
        check_contract_name(self.contract_name)
        check_name(self.asset_name)

    @property
    def text(self) -> str:
        """``ADDRESS.contract::asset``."""
        return f"{self.address.text}.{self.contract_name}::{self.asset_name}"


@dataclass(frozen=True, slots=True)
class StxPostCondition:
    """How many micro-STX `principal` sends."""

    principal: Principal | Origin
    code: FungibleCode
    amount_ustx: int

    def __post_init__(self) -> None:
        check_u64(self.amount_ustx)


@dataclass(frozen=True, slots=True)
class FtPostCondition:
    """How many base units of `asset` `principal` sends."""

    principal: Principal | Origin
    asset: Asset
    code: FungibleCode
    amount: int

    def __post_init__(self) -> None:
        check_u64(self.amount)


@dataclass(frozen=True, slots=True)
class NftPostCondition:
    """Whether `principal` sends the item `item` of `asset`."""

    principal: Principal | Origin
    asset: Asset
    item: ClarityValue
    code: NonFungibleCode


@dataclass(frozen=True, slots=True)
class StakingPostCondition:
    """How many micro-STX `principal` locks; needs a recent epoch."""

    principal: Principal | Origin
    code: FungibleCode
    amount_ustx: int

    def __post_init__(self) -> None:
        check_u64(self.amount_ustx)


@dataclass(frozen=True, slots=True)
class PoxPostCondition:
    """Whether `principal` acts on stacking; needs a recent epoch."""

    principal: Principal | Origin
    code: PoxCode


PostCondition = StxPostCondition | FtPostCondition | NftPostCondition | StakingPostCondition | PoxPostCondition


def check_u64(number: int) -> int:
    """Gives back a number of 64 bits without sign; raises `CodecError` for another."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 64:
        raise CodecError("not an unsigned number of 64 bits")
    return number


def parse_asset(text: str) -> Asset:
    """Reads ``ADDRESS.contract::asset``; raises `CodecError` for anything else."""
    contract, _, asset_name = text.partition("::")
    account, _, contract_name = contract.partition(".")
    return Asset(parse_address(account), contract_name, asset_name)


def write_post_condition(condition: PostCondition) -> bytes:
    """The bytes of one post-condition."""
    principal = _principal_bytes(condition.principal)
    code = bytes((condition.code,))
    match condition:
        case StxPostCondition():
            return bytes((_Kind.STX,)) + principal + code + condition.amount_ustx.to_bytes(8, "big")
        case FtPostCondition():
            tail = code + condition.amount.to_bytes(8, "big")
            return bytes((_Kind.FT,)) + principal + _asset_bytes(condition.asset) + tail
        case NftPostCondition():
            return bytes((_Kind.NFT,)) + principal + _asset_bytes(condition.asset) + serialize(condition.item) + code
        case StakingPostCondition():
            return bytes((_Kind.STAKING,)) + principal + code + condition.amount_ustx.to_bytes(8, "big")
        case PoxPostCondition():
            return bytes((_Kind.POX,)) + principal + code


def read_post_condition(reader: Reader) -> PostCondition:
    """The next post-condition of a transaction."""
    kind = reader.byte()
    principal = _read_principal(reader)
    match kind:
        case _Kind.STX:
            return StxPostCondition(principal, _read_code(reader, FungibleCode), reader.unsigned(8))
        case _Kind.FT:
            return FtPostCondition(principal, _read_asset(reader), _read_code(reader, FungibleCode), reader.unsigned(8))
        case _Kind.NFT:
            return NftPostCondition(
                principal, _read_asset(reader), read_value(reader), _read_code(reader, NonFungibleCode)
            )
        case _Kind.STAKING:
            return StakingPostCondition(principal, _read_code(reader, FungibleCode), reader.unsigned(8))
        case _Kind.POX:
            return PoxPostCondition(principal, _read_code(reader, PoxCode))
        case _:
            raise CodecError("unknown kind of post-condition")


def _read_asset(reader: Reader) -> Asset:
    return Asset(read_address(reader), read_contract_name(reader), read_name(reader))


def _read_code(reader: Reader, codes: type[_Code]) -> _Code:
    try:
        return codes(reader.byte())
    except ValueError as error:
        raise CodecError("unknown code of a post-condition") from error


def _principal_bytes(principal: Principal | Origin) -> bytes:
    if isinstance(principal, Origin):
        return bytes([_ORIGIN])
    address = address_bytes(principal.address)
    if isinstance(principal, ContractPrincipal):
        return bytes([_CONTRACT]) + address + name_bytes(principal.name)
    return bytes([_STANDARD]) + address


def _read_principal(reader: Reader) -> Principal | Origin:
    match reader.byte():
        case 0x01:
            return ORIGIN
        case 0x02:
            return StandardPrincipal(read_address(reader))
        case 0x03:
            return ContractPrincipal(read_address(reader), read_contract_name(reader))
        case _:
            raise CodecError("unknown kind of principal in a post-condition")


def _asset_bytes(asset: Asset) -> bytes:
    return address_bytes(asset.address) + name_bytes(asset.contract_name) + name_bytes(asset.asset_name)
