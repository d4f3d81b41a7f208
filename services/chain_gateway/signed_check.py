"""Compares what a wallet signed with what it was asked to sign, field by field."""

from __future__ import annotations

from typing import Final

from kernel.errors import InvalidArgument
from kernel.units import INT64_MAX
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.signing import stored_call
from services.chain_gateway.stacks.errors import CodecError, MissingSignature
from services.chain_gateway.stacks.payload import ContractCall, write_payload
from services.chain_gateway.stacks.post_condition import PostConditionMode, write_post_condition
from services.chain_gateway.stacks.spending import UNSIGNED, SingleSigCondition
from services.chain_gateway.stacks.transaction import Transaction, deserialize_transaction
from services.chain_gateway.stacks.transaction_signing import verify_origin
from services.chain_gateway.tables import PreparedTransaction

_FIELD: Final = "signed_transaction"


def check_signed(contracts: Contracts, prepared: PreparedTransaction, data: bytes, fee_cap_ustx: int) -> Transaction:
    """The transaction in the bytes, if it is what was prepared; InvalidArgument with a reason of its own each way.

    Nonce and fee are the wallet's to choose, the fee up to the cap; of a sponsored one it is 0, and ours to choose.
    """
    try:
        transaction = deserialize_transaction(data)
    except CodecError as error:
        raise InvalidArgument.of(_FIELD, f"malformed: {error}", "MALFORMED_TRANSACTION") from error
    if transaction.network.version != contracts.network.version:
        raise InvalidArgument.of(_FIELD, f"is not for {contracts.network_name}", "WRONG_NETWORK")
    if transaction.network.chain_id != contracts.network.chain_id:
        raise InvalidArgument.of(_FIELD, "is for another chain id", "WRONG_CHAIN_ID")
    _check_sponsor(transaction, prepared)
    if transaction.sender.text != prepared.principal:
        raise InvalidArgument.of(_FIELD, "is of another account", "WRONG_SENDER")
    _check_payload(transaction, prepared)
    _check_post_conditions(transaction, prepared)
    least, most = (0, 0) if prepared.sponsored else (1, fee_cap_ustx)
    if not least <= transaction.origin.fee <= most:
        raise InvalidArgument.of(_FIELD, f"the fee is not within {least} and {most} uSTX", "FEE_OUT_OF_BOUNDS")
    if transaction.origin.nonce > INT64_MAX:
        raise InvalidArgument.of(_FIELD, f"the nonce is above {INT64_MAX}", "NONCE_OUT_OF_BOUNDS")
    try:
        verify_origin(transaction)
    except MissingSignature as error:
        raise InvalidArgument.of(_FIELD, str(error), "MISSING_SIGNATURE") from error
    except CodecError as error:
        raise InvalidArgument.of(_FIELD, str(error), "INVALID_SIGNATURE") from error
    return transaction


def _check_sponsor(transaction: Transaction, prepared: PreparedTransaction) -> None:
    sponsor = transaction.sponsor
    if sponsor is None and prepared.sponsored:
        raise InvalidArgument.of(_FIELD, "is not sponsored", "NOT_SPONSORED")
    if sponsor is not None and not prepared.sponsored:
        raise InvalidArgument.of(_FIELD, "is sponsored", "SPONSORED_TRANSACTION")
    if sponsor is not None and (not isinstance(sponsor, SingleSigCondition) or sponsor.signature != UNSIGNED):
        raise InvalidArgument.of(_FIELD, "has a sponsor already", "OTHER_SPONSOR")


def _check_payload(transaction: Transaction, prepared: PreparedTransaction) -> None:
    asked = stored_call(prepared.payload, prepared.post_conditions).payload
    payload = transaction.payload
    if not isinstance(payload, ContractCall) or payload.contract != asked.contract:
        raise InvalidArgument.of(_FIELD, "calls another contract", "CONTRACT_MISMATCH")
    if payload.function_name != asked.function_name:
        raise InvalidArgument.of(_FIELD, "calls another function", "FUNCTION_MISMATCH")
    if write_payload(payload) != prepared.payload:
        raise InvalidArgument.of(_FIELD, "has other arguments", "ARGUMENTS_MISMATCH")


def _check_post_conditions(transaction: Transaction, prepared: PreparedTransaction) -> None:
    if transaction.post_condition_mode is not PostConditionMode.DENY:
        raise InvalidArgument.of(_FIELD, "is not in Deny mode", "POST_CONDITION_MODE_MISMATCH")
    # Their order carries no meaning, and wallets may change it.
    if sorted(map(write_post_condition, transaction.post_conditions)) != sorted(prepared.post_conditions):
        raise InvalidArgument.of(_FIELD, "has other post-conditions", "POST_CONDITIONS_MISMATCH")
