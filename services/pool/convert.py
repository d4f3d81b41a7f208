"""Protobuf to domain and back: what comes in is checked here, field by field."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from typing import Final

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument
from kernel.ids import is_id, parse_resource_name, resource_name
from kernel.units import Tier, Token, check_amount, check_positive
from services.pool import tables
from services.pool.domain import chain_event as chain
from services.pool.domain.collateral import ReservationTerms
from services.pool.domain.decision import Decision, ExpiryPrices
from services.pool.domain.ledger import Cause, gas_key
from services.pool.domain.shares import OpenPolicy

_DEPOSIT_ID: Final = re.compile(r"[0-9a-f]{32,64}-[0-9]+(-[0-9]+)?")
_RECONCILIATION_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")
_POLICIES: Final = ("policy_created", "policy_settled", "policy_expired")
_WITH_ENTRY: Final = {*_POLICIES, "deposited", "withdrawal", "voucher_vetoed", "fees_withdrawn", "fee_paid"}


def timestamp(time: dt.datetime) -> Timestamp:
    """A time as a message."""
    result = Timestamp()
    result.FromDatetime(time)
    return result


def tier(value: int, field: str = "tier") -> Tier:
    """A named tier; InvalidArgument for none or an unknown one."""
    try:
        return Tier(value)
    except ValueError:
        raise InvalidArgument.of(field, "name a tier") from None


def token(value: int, field: str = "token") -> Token:
    """A named token; InvalidArgument for none or an unknown one."""
    try:
        return Token(value)
    except ValueError:
        raise InvalidArgument.of(field, "name a token") from None


def deposit_id(name: str) -> str:
    """`deposits/{txid}-{event index}` → its id."""
    prefix, _, identifier = name.partition("/")
    if prefix != "deposits" or not _DEPOSIT_ID.fullmatch(identifier):
        raise InvalidArgument.of("name", "expected deposits/{txid}-{event index}", "INVALID_NAME")
    return identifier


def reconciliation_id(name: str) -> str:
    """`reconciliations/{id}` → its id."""
    prefix, _, identifier = name.partition("/")
    if prefix != "reconciliations" or not _RECONCILIATION_ID.fullmatch(identifier):
        raise InvalidArgument.of("name", "expected reconciliations/{id}", "INVALID_NAME")
    return identifier


def reservation_terms(request: pb.CreateReservationRequest) -> ReservationTerms:
    """The terms of a reservation; InvalidArgument for what can never be reserved."""
    terms = request.terms
    if not terms.holder_principal:
        raise InvalidArgument.of("terms.holder_principal", "name the holder")
    for field in ("protected_amount_sats", "strike_price_usd_e8", "floor_price_usd_e8", "expiration_burn_height"):
        if getattr(terms, field) <= 0:
            raise InvalidArgument.of(f"terms.{field}", "must be positive")
    if request.max_payout_base_units <= 0:
        raise InvalidArgument.of("max_payout_base_units", "must be positive")
    return ReservationTerms(
        policy_id=parse_resource_name("policies", terms.policy, "terms.policy"),
        holder=terms.holder_principal,
        tier=tier(terms.tier, "terms.tier"),
        token=token(terms.token, "terms.token"),
        amount_sats=terms.protected_amount_sats,
        strike_e8=terms.strike_price_usd_e8,
        floor_e8=terms.floor_price_usd_e8,
        stx_price_e8=terms.stx_price_usd_e8,
        max_payout=request.max_payout_base_units,
        quote_expiration_burn_height=terms.quote_expiration_burn_height,
        expiration_burn_height=terms.expiration_burn_height,
    )


def terms_digest(request: pb.CreateReservationRequest) -> bytes:
    """What two reservations of one policy must agree in."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def chain_event(event: chain_event_pb2.ChainEvent) -> chain.ChainEvent:
    """An event of the gateway; ValueError (AmountError, InvalidArgument) for one that makes no sense."""
    payload = _payload(event)
    cause = event_cause(event, chain.subject(payload))
    return chain.ChainEvent(cause, event.withdrawn, event.backend_fee_ustx, payload)


def event_cause(event: chain_event_pb2.ChainEvent, subject: str = "") -> Cause:
    """`{txid}/{event index}`; of a fee, `{txid}/gas`."""
    txid = event.txid
    time = _moment(event.block_time.seconds, event.block_time.nanos)
    key = gas_key(txid) if event.HasField("fee_paid") else f"{txid}/{event.event_index}"
    return Cause(key, event.burn_height, time, txid, subject=subject)


@functools.lru_cache(maxsize=64)
def _moment(seconds: int, nanos: int) -> dt.datetime:
    # Events of a block share their time, and reading it is a good part of reading an event.
    return Timestamp(seconds=seconds, nanos=nanos).ToDatetime(dt.UTC)


def leaves_entry(event: chain_event_pb2.ChainEvent) -> bool:
    """Whether the books that explain an event have an entry under its cause."""
    return event.WhichOneof("payload") in _WITH_ENTRY


def _payload(event: chain_event_pb2.ChainEvent) -> chain.Payload:
    kind = event.WhichOneof("payload")
    if kind == "deposited":
        return _deposited(event)
    if kind == "policy_created":
        return _created(event.policy_created)
    if kind in ("policy_settled", "policy_expired"):
        return _ended(event)
    if kind in ("withdrawal", "withdrawal_delayed", "voucher_vetoed"):
        return _voucher(event)
    if kind == "fees_withdrawn":
        amount = event.fees_withdrawn.amount
        return chain.FeesWithdrawn(token(amount.token), check_positive("amount", amount.base_units))
    return chain.FeePaid() if kind == "fee_paid" else chain.Irrelevant()


def _deposited(event: chain_event_pb2.ChainEvent) -> chain.Deposited:
    deposited = event.deposited
    return chain.Deposited(
        deposit_id=f"{event.txid}-{event.event_index}",
        provider=deposited.provider_principal,
        tier=tier(deposited.tier),
        token=token(deposited.amount.token),
        amount=check_positive("amount", deposited.amount.base_units),
    )


def _created(created: chain_event_pb2.PolicyCreated) -> chain.PolicyCreated:
    terms = created.terms
    policy = OpenPolicy(
        token=token(terms.token),
        amount_sats=check_positive("amount", terms.protected_amount_sats),
        strike_e8=check_positive("strike", terms.strike_price_usd_e8),
        floor_e8=check_positive("floor", terms.floor_price_usd_e8),
        max_payout=check_positive("max_payout", created.max_payout_base_units),
        premium=check_amount("premium", terms.premium_base_units),
        created_burn_height=created.created_burn_height,
        expiration_burn_height=terms.expiration_burn_height,
    )
    return chain.PolicyCreated(
        policy_id=parse_resource_name("policies", terms.policy),
        onchain_id=check_positive("onchain_id", created.onchain_id),
        tier=tier(terms.tier),
        policy=policy,
        fee=check_amount("fee", terms.fee_base_units),
        auto_settle=terms.auto_settle,
    )


def decision(receipt: price_pb2.SettlementReceipt) -> Decision:
    """What a receipt decides."""
    prices = receipt.btc_price_usd_e8, receipt.stx_price_usd_e8
    if receipt.WhichOneof("purpose") == "activation":
        return Decision(parse_resource_name("policies", receipt.activation.policy), None, *prices)
    return Decision(None, receipt.expiry.expiration_burn_height, *prices)


def expiry_prices(preview: oracle_pb2.ExpiryPreview) -> ExpiryPrices:
    """What decides the policies of an expiration height."""
    return ExpiryPrices(preview.expiration_burn_height, preview.btc_price_usd_e8, preview.stx_price_usd_e8)


def _ended(event: chain_event_pb2.ChainEvent) -> chain.PolicySettled | chain.PolicyExpired:
    if event.WhichOneof("payload") == "policy_settled":
        settled = event.policy_settled
        return chain.PolicySettled(
            parse_resource_name("policies", settled.policy),
            token(settled.payout.token),
            check_amount("payout", settled.payout.base_units),
            check_amount("max_payout", settled.max_payout_base_units),
        )
    expired = event.policy_expired
    return chain.PolicyExpired(
        parse_resource_name("policies", expired.policy),
        token(expired.token),
        check_amount("max_payout", expired.max_payout_base_units),
    )


def _voucher(event: chain_event_pb2.ChainEvent) -> chain.VoucherPaid | chain.VoucherDelayed | chain.VoucherVetoed:
    kind = event.WhichOneof("payload")
    if kind == "withdrawal":
        paid = event.withdrawal
        return chain.VoucherPaid(
            parse_resource_name("withdrawals", paid.withdrawal),
            paid.provider_principal,
            token(paid.amount.token),
            check_positive("amount", paid.amount.base_units),
        )
    if kind == "withdrawal_delayed":
        delayed = event.withdrawal_delayed
        return chain.VoucherDelayed(parse_resource_name("withdrawals", delayed.withdrawal), delayed.ready_burn_height)
    return chain.VoucherVetoed(parse_resource_name("withdrawals", event.voucher_vetoed.withdrawal))


def reservation_message(row: tables.Reservation) -> pb.Reservation:
    """A reservation."""
    return pb.Reservation(
        policy=resource_name("policies", row.policy_id),
        state=pb.ReservationState.Value(f"RESERVATION_STATE_{row.state}"),
        reason=row.reason,
    )


def amount_message(of: int, base_units: int) -> money_pb2.TokenAmount:
    """An amount of a token."""
    return money_pb2.TokenAmount(token=money_pb2.Token.ValueType(of), base_units=base_units)


def deposit_message(row: tables.Deposit, returned_by: str | None = None) -> pb.Deposit:
    """A deposit; `returned_by` is the id of the withdrawal that gives it back."""
    return pb.Deposit(
        name=resource_name("deposits", row.id),
        provider_principal=row.provider,
        tier=money_pb2.Tier.ValueType(row.tier),
        amount=amount_message(row.token, row.amount),
        state=pb.DepositState.Value(f"DEPOSIT_STATE_{row.state}"),
        shares=row.shares,
        burn_height=row.burn_height,
        wait_reason=row.wait_reason,
        withdrawal=resource_name("withdrawals", returned_by) if returned_by else "",
    )


def withdrawal_page_start(text: str) -> str | None:
    """The id that a page token of ListWithdrawals is; None for the first page."""
    if text and not is_id(text):
        raise InvalidArgument.of("page_token", "not a token of ours", "INVALID_PAGE_TOKEN")
    return text or None


def withdrawal_message(row: tables.Withdrawal, ahead_in_queue: int = 0) -> pb.Withdrawal:
    """A withdrawal, with the transaction to sign once there is one."""
    message = pb.Withdrawal(
        name=resource_name("withdrawals", row.id),
        provider_principal=row.provider,
        tier=money_pb2.Tier.ValueType(row.tier),
        token=money_pb2.Token.ValueType(row.token),
        shares=row.shares,
        state=pb.WithdrawalState.Value(f"WITHDRAWAL_STATE_{row.state}"),
        amount_base_units=row.amount,
        voucher_expiration_burn_height=row.voucher_expiration_burn_height,
        reason=row.reason,
        txid=row.txid,
        create_time=timestamp(row.create_time),
        filled_shares=row.filled_shares,
        part_of=resource_name("withdrawals", row.part_of) if row.part_of else "",
        ahead_in_queue=ahead_in_queue,
        deposit=resource_name("deposits", row.deposit_id) if row.deposit_id else "",
    )
    if row.prepared_transaction:
        prepared = transaction_pb2.PreparedTransaction.FromString(row.prepared_transaction)
        message.prepared_transaction.CopyFrom(prepared)
    return message


def line_message(row: tables.StatementLine) -> pb.StatementLine:
    """A line of a provider's statement."""
    return pb.StatementLine(
        time=timestamp(row.time),
        kind=row.kind,
        tier=money_pb2.Tier.ValueType(row.tier),
        amount=amount_message(row.token, row.amount),
        shares_delta=row.shares_delta,
        txid=row.txid,
        burn_height=row.burn_height,
        provider_principal=row.provider,
    )
