"""What a transaction does: transfer STX, call a contract, or deploy one (SIP-005)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    ContractPrincipal,
    Principal,
    append_value,
    check_contract_name,
    check_name,
    principal_bytes,
    read_principal,
    read_value,
)
from services.chain_gateway.stacks.clarity_read import read_address, read_contract_name, read_name
from services.chain_gateway.stacks.clarity_write import address_bytes, name_bytes
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.post_condition import check_u64
from services.chain_gateway.stacks.reader import Reader

_TRANSFER: Final = 0x00
_DEPLOY: Final = 0x01
_CALL: Final = 0x02
_VERSIONED_DEPLOY: Final = 0x06

MEMO_BYTES = 34
MAX_CODE_BYTES = 1_048_576
_CLARITY_VERSIONS = range(1, 7)


@dataclass(frozen=True, slots=True)
class TokenTransfer:
    """Sends micro-STX, with a memo of at most 34 bytes that is padded with zeros."""

    recipient: Principal
    amount_ustx: int
    memo: bytes = b""

    def __post_init__(self) -> None:
        check_u64(self.amount_ustx)
        if not isinstance(self.memo, bytes) or len(self.memo) > MEMO_BYTES:
            raise CodecError("a memo has at most 34 bytes")
        object.__setattr__(self, "memo", self.memo.rstrip(b"\0"))


@dataclass(frozen=True, slots=True)
class ContractCall:
    """Calls a public function."""

    address: Address
    contract_name: str
    function_name: str
    arguments: tuple[ClarityValue, ...] = ()

    def __post_init__(self) -> None:
        check_contract_name(self.contract_name)
        check_name(self.function_name)
        object.__setattr__(self, "arguments", tuple(self.arguments))

    @property
    def contract(self) -> ContractPrincipal:
        """The contract that is called."""
        return ContractPrincipal(self.address, self.contract_name)


@dataclass(frozen=True, slots=True)
class ContractDeploy:
    """Publishes a contract; without a Clarity version it is the epoch's default."""

    contract_name: str
    code: str
    clarity_version: int | None

    def __post_init__(self) -> None:
        check_contract_name(self.contract_name)
        if self.clarity_version is not None and self.clarity_version not in _CLARITY_VERSIONS:
            raise CodecError("unknown Clarity version")
        if len(_encode_code(self.code)) > MAX_CODE_BYTES:
            raise CodecError("the code is too long")


Payload = TokenTransfer | ContractCall | ContractDeploy


def write_payload(payload: Payload) -> bytes:
    """The bytes of a payload, its kind first."""
    match payload:
        case TokenTransfer():
            amount = payload.amount_ustx.to_bytes(8, "big")
            memo = payload.memo.ljust(MEMO_BYTES, b"\0")
            return bytes([_TRANSFER]) + principal_bytes(payload.recipient) + amount + memo
        case ContractCall():
            out = bytearray((_CALL,)) + address_bytes(payload.address)
            out += name_bytes(payload.contract_name) + name_bytes(payload.function_name)
            out += len(payload.arguments).to_bytes(4, "big")
            for argument in payload.arguments:
                append_value(argument, out)
            return bytes(out)
        case ContractDeploy():
            code = _encode_code(payload.code)
            body = name_bytes(payload.contract_name) + len(code).to_bytes(4, "big") + code
            if payload.clarity_version is None:
                return bytes([_DEPLOY]) + body
            return bytes([_VERSIONED_DEPLOY, payload.clarity_version]) + body


def read_payload(reader: Reader) -> Payload:
    """The payload of a transaction; kinds that only miners send are refused."""
    kind = reader.byte()
    if kind == _TRANSFER:
        return TokenTransfer(read_principal(reader), reader.unsigned(8), reader.take(MEMO_BYTES))
    if kind == _CALL:
        return _read_call(reader)
    if kind == _DEPLOY:
        return _read_deploy(reader, None)
    if kind == _VERSIONED_DEPLOY:
        return _read_deploy(reader, reader.byte())
    raise CodecError("unknown kind of payload")


def _read_call(reader: Reader) -> ContractCall:
    address = read_address(reader)
    contract_name, function_name = read_contract_name(reader), read_name(reader)
    count = reader.unsigned(4)
    if count > reader.remaining:
        raise CodecError("more arguments than bytes")
    arguments = tuple(read_value(reader) for _ in range(count))
    return ContractCall(address, contract_name, function_name, arguments)


def _read_deploy(reader: Reader, clarity_version: int | None) -> ContractDeploy:
    name = read_contract_name(reader)
    try:
        code = reader.prefixed(4, MAX_CODE_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodecError("the code is not UTF-8") from error
    return ContractDeploy(name, code, clarity_version)


def _encode_code(code: str) -> bytes:
    try:
        return code.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CodecError("the code is not valid Unicode") from error
