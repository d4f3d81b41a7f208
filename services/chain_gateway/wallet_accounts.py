"""Whose keys will sign a prepared transaction: checked against the principal, and turned into what they sign under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.errors import InvalidArgument
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.stacks.clarity import StandardPrincipal
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.spending import HashMode, SpendingCondition, account_of
from services.chain_gateway.stacks.transaction import multi_sig, single_sig

_COMPRESSED_BYTES: Final = 33
_MODES: Final = {
    pb.SHARED_ACCOUNT_MODE_P2SH: HashMode.P2SH,
    pb.SHARED_ACCOUNT_MODE_P2WSH: HashMode.P2WSH,
    pb.SHARED_ACCOUNT_MODE_P2SH_ANY_ORDER: HashMode.P2SH_NON_SEQUENTIAL,
    pb.SHARED_ACCOUNT_MODE_P2WSH_ANY_ORDER: HashMode.P2WSH_NON_SEQUENTIAL,
}

Unsigned = Callable[[int, int], SpendingCondition]
"""From nonce and fee in uSTX to the spending condition that is signed."""


def unsigned_account(
    contracts: Contracts, sender: StandardPrincipal, request: pb.PrepareTransactionRequest
) -> Unsigned | None:
    """How the sender's keys will sign; None when the request names none, InvalidArgument when they are another's."""
    if request.HasField("shared_account"):
        if request.public_key:
            raise InvalidArgument.of("public_key", "is of one key, and shared_account of several", "INVALID_PUBLIC_KEY")
        return _checked(contracts, sender, _shared(request.shared_account), "shared_account", "INVALID_SHARED_ACCOUNT")
    if not request.public_key:
        return None
    if len(request.public_key) != _COMPRESSED_BYTES:
        raise InvalidArgument.of("public_key", "expected 33 bytes", "INVALID_PUBLIC_KEY")
    key = request.public_key
    return _checked(
        contracts, sender, lambda nonce, fee: single_sig(key, nonce, fee), "public_key", "INVALID_PUBLIC_KEY"
    )


def _shared(message: pb.SharedAccount) -> Unsigned:
    mode = _MODES.get(message.mode)
    if mode is None:
        raise InvalidArgument.of("shared_account.mode", "is required", "INVALID_SHARED_ACCOUNT")
    keys, threshold = list(message.public_keys), message.threshold
    return lambda nonce, fee: multi_sig(mode, keys, threshold, nonce, fee)


def _checked(contracts: Contracts, sender: StandardPrincipal, unsigned: Unsigned, field: str, reason: str) -> Unsigned:
    try:
        account = account_of(unsigned(0, 0), contracts.is_mainnet)
    except CodecError as error:
        raise InvalidArgument.of(field, str(error), reason) from error
    if account != sender.address:
        raise InvalidArgument.of(field, "is not what the principal's address is made of", reason)
    return unsigned
