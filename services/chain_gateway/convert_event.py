"""Print events of our contracts, and fees that we paid, to `ChainEvent`s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from bithedge.chain_gateway.v1 import chain_event_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.ids import resource_name
from services.chain_gateway import clarity_fields as read
from services.chain_gateway.contracts import ORACLE, REGISTRY, VAULT
from services.chain_gateway.domain.event_record import FEE
from services.chain_gateway.event_forms import EventForms
from services.chain_gateway.stacks.clarity import Buffer, TupleValue, UInt, deserialize
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.tables import Event

FEEDS: Final = {"BTC/USD": price_pb2.FEED_BTC_USD, "STX/USD": price_pb2.FEED_STX_USD}
_ID_BYTES: Final = 16


_FORMS: Final = EventForms()


def read_topic(contract: str, value: bytes) -> str:
    """The topic of what a contract of ours printed, empty when it has none.

    CodecError when a known topic has another form than our contracts give it.
    """
    topic = _FORMS.topic(contract, value)
    return judge_topic(contract, value) if topic is None else topic


def judge_topic(contract: str, value: bytes) -> str:
    """As `read_topic`, from every byte of it; what is good is recognised from then on."""
    try:
        printed = read.tuple_of(deserialize(value))
        topic = read.text(printed, "topic")
    except CodecError:
        return ""
    _set_payload(pb.ChainEvent(), contract, topic, value, printed)
    _FORMS.learn(contract, value, printed, topic)
    return topic


def timestamp(time: dt.datetime) -> Timestamp:
    """The protobuf form of a time."""
    converted = Timestamp()
    converted.FromDatetime(time)
    return converted


def chain_event(row: Event) -> pb.ChainEvent:
    """The event of a row. CodecError when a known topic has another form than our contracts give it."""
    event = pb.ChainEvent(
        sequence=row.sequence,
        withdrawn=row.withdrawn,
        block_hash=row.block_hash,
        stacks_height=row.stacks_height,
        burn_height=row.burn_height,
        block_time=timestamp(row.block_time),
        txid=row.txid,
        transaction_index=row.transaction_index,
        event_index=row.event_index,
        sender_principal=row.sender,
        backend_fee_ustx=row.backend_fee_ustx,
    )
    _set_payload(event, row.contract, row.topic, row.value)
    return event


def _set_payload(
    event: pb.ChainEvent, contract: str, topic: str, value: bytes, printed: TupleValue | None = None
) -> None:
    """`printed` is `value` read, where the caller has read it already."""
    set_payload = _TOPICS.get((contract, topic))
    if set_payload is not None:
        printed = read.tuple_of(deserialize(value)) if printed is None else printed
    if set_payload is None or printed is None or _names_nothing_of_ours(topic, printed):
        event.other.CopyFrom(pb.OtherEvent(topic=topic, value=value))
    else:
        set_payload(event, printed)


def _names_nothing_of_ours(topic: str, printed: TupleValue) -> bool:
    """Callers choose some ids freely: `expire-policies` refuses any number, `veto-voucher` takes any bytes.

    What can be no id of ours is passed on as it is; in every other event the contracts have checked the values.
    """
    if topic == "policy-refused":
        number = printed["id"]
        return isinstance(number, UInt) and number.value >= 1 << 63
    if topic == "voucher-vetoed":
        voucher = printed["voucher-id"]
        return isinstance(voucher, Buffer) and len(voucher.value) != _ID_BYTES
    return False


def token_amount(value: TupleValue, name: str) -> money_pb2.TokenAmount:
    """An amount of a tuple that names its token."""
    token = money_pb2.Token.Name(read.uint(value, "token"))  # type: ignore[arg-type]
    return money_pb2.TokenAmount(token=money_pb2.Token.Value(token), base_units=read.uint(value, name))


def _policy_created(event: pb.ChainEvent, value: TupleValue) -> None:
    created = event.policy_created
    created.onchain_id = read.uint(value, "id")
    created.max_payout_base_units = read.uint(value, "max-payout")
    created.created_burn_height = read.uint(value, "created-burn-height")
    created.grace_blocks = read.uint(value, "grace-blocks")
    quote_terms(created.terms, value)


def quote_terms(terms: transaction_pb2.QuoteTerms, value: TupleValue) -> None:
    """Fills in the terms of a quote from its Clarity form, as events tell and keys sign it."""
    terms.policy = resource_name("policies", read.identifier(value, "policy-id"))
    terms.holder_principal = read.principal(value, "holder")
    terms.tier = read.uint(value, "tier")
    terms.token = read.uint(value, "token")
    terms.protected_amount_sats = read.uint(value, "amount-sats")
    terms.strike_price_usd_e8 = read.uint(value, "strike-price-e8")
    terms.floor_price_usd_e8 = read.uint(value, "floor-price-e8")
    terms.btc_price_usd_e8 = read.uint(value, "btc-price-e8")
    terms.stx_price_usd_e8 = read.uint(value, "stx-price-e8")
    terms.premium_base_units = read.uint(value, "premium")
    terms.fee_base_units = read.uint(value, "fee")
    terms.auto_settle = read.flag(value, "auto-settle")
    terms.quote_burn_height = read.uint(value, "quote-burn-height")
    terms.quote_expiration_burn_height = read.uint(value, "quote-expiry-burn-height")
    terms.expiration_burn_height = read.uint(value, "expiration-burn-height")


def _policy_settled(event: pb.ChainEvent, value: TupleValue) -> None:
    settled = event.policy_settled
    settled.onchain_id = read.uint(value, "id")
    settled.policy = resource_name("policies", read.identifier(value, "policy-id"))
    settled.payout.CopyFrom(token_amount(value, "payout"))
    settled.max_payout_base_units = read.uint(value, "max-payout")
    settled.btc_price_usd_e8 = read.uint(value, "btc-price-e8")
    settled.stx_price_usd_e8 = read.uint(value, "stx-price-e8")
    settled.receipt_burn_height = read.uint(value, "receipt-burn-height")
    settled.observe_time.FromSeconds(read.uint(value, "observed-at"))
    settled.activation_number = read.uint(value, "activation")


def _policy_expired(event: pb.ChainEvent, value: TupleValue) -> None:
    expired = event.policy_expired
    amount = token_amount(value, "max-payout")
    expired.onchain_id = read.uint(value, "id")
    expired.policy = resource_name("policies", read.identifier(value, "policy-id"))
    expired.token = amount.token
    expired.max_payout_base_units = amount.base_units
    expired.btc_price_usd_e8 = read.uint(value, "btc-price-e8")


def _policy_refused(event: pb.ChainEvent, value: TupleValue) -> None:
    event.policy_refused.onchain_id = read.uint(value, "id")
    event.policy_refused.error = read.uint(value, "error")


def _deposit(event: pb.ChainEvent, value: TupleValue) -> None:
    event.deposited.provider_principal = read.principal(value, "provider")
    event.deposited.amount.CopyFrom(token_amount(value, "amount"))
    event.deposited.tier = money_pb2.Tier.Value(money_pb2.Tier.Name(read.uint(value, "tier")))  # type: ignore[arg-type]


def _withdrawal(event: pb.ChainEvent, value: TupleValue) -> None:
    event.withdrawal.withdrawal = resource_name("withdrawals", read.identifier(value, "voucher-id"))
    event.withdrawal.provider_principal = read.principal(value, "provider")
    event.withdrawal.amount.CopyFrom(token_amount(value, "amount"))


def _withdrawal_delayed(event: pb.ChainEvent, value: TupleValue) -> None:
    delayed = event.withdrawal_delayed
    delayed.withdrawal = resource_name("withdrawals", read.identifier(value, "voucher-id"))
    delayed.provider_principal = read.principal(value, "provider")
    delayed.amount.CopyFrom(token_amount(value, "amount"))
    delayed.ready_burn_height = read.uint(value, "ready-burn-height")


def _voucher_vetoed(event: pb.ChainEvent, value: TupleValue) -> None:
    event.voucher_vetoed.withdrawal = resource_name("withdrawals", read.identifier(value, "voucher-id"))


def _fees_withdrawn(event: pb.ChainEvent, value: TupleValue) -> None:
    event.fees_withdrawn.recipient_principal = read.principal(value, "recipient")
    event.fees_withdrawn.amount.CopyFrom(token_amount(value, "amount"))


def price_round(value: TupleValue) -> price_pb2.PriceRound:
    """A round as the oracle contract tells it; the signature is not part of that."""
    feed = FEEDS.get(read.text(value, "feed"))
    if feed is None:
        raise CodecError("unknown feed")
    converted = price_pb2.PriceRound(
        feed=feed,
        round=read.uint(value, "round"),
        price_usd_e8=read.uint(value, "price-e8"),
        confidence_usd_e8=read.uint(value, "confidence-e8"),
        burn_height=read.uint(value, "burn-height"),
    )
    converted.observe_time.FromSeconds(read.uint(value, "observed-at"))
    return converted


def _price_published(event: pb.ChainEvent, value: TupleValue) -> None:
    event.price_published.round.CopyFrom(price_round(value))


def _fee_paid(event: pb.ChainEvent, value: TupleValue) -> None:
    event.fee_paid.payer_principal = read.principal(value, "payer")


_TOPICS: Final[dict[tuple[str, str], Callable[[pb.ChainEvent, TupleValue], None]]] = {
    (REGISTRY, "policy-created"): _policy_created,
    (REGISTRY, "policy-settled"): _policy_settled,
    (REGISTRY, "policy-expired"): _policy_expired,
    (REGISTRY, "policy-refused"): _policy_refused,
    (VAULT, "deposit"): _deposit,
    (VAULT, "withdrawal"): _withdrawal,
    (VAULT, "withdrawal-delayed"): _withdrawal_delayed,
    (VAULT, "voucher-vetoed"): _voucher_vetoed,
    (VAULT, "fees-withdrawn"): _fees_withdrawn,
    (ORACLE, "price-published"): _price_published,
    ("", FEE): _fee_paid,
}
