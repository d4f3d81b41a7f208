"""Between protobuf and domain; the only module that knows both."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import price_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name, resource_name
from kernel.units import INT64_MAX, Token
from services.oracle.domain.prices import Feed, JudgedObservation, Price, PriceStatus, Round, unix_seconds
from services.oracle.domain.publication import PublicationState
from services.oracle.receipts import ActivationRequest
from services.oracle.store_receipts import activation_purpose, expiry_purpose
from services.oracle.tables import ReceiptRow

_FEEDS: Final = {int(feed): feed for feed in Feed}
_STATUSES: Final = {
    PriceStatus.OK: pb.PRICE_STATUS_OK,
    PriceStatus.DEGRADED: pb.PRICE_STATUS_DEGRADED,
    PriceStatus.UNAVAILABLE: pb.PRICE_STATUS_UNAVAILABLE,
}
_OUTCOMES: Final = {
    pb.PUBLICATION_OUTCOME_CONFIRMED: PublicationState.CONFIRMED,
    pb.PUBLICATION_OUTCOME_REFUSED: PublicationState.REFUSED,
}


def feed_of(number: int) -> Feed:
    """The feed of a request; InvalidArgument for none or an unknown one."""
    feed = _FEEDS.get(number)
    if feed is None:
        raise InvalidArgument.of("feed", "expected FEED_BTC_USD or FEED_STX_USD", "INVALID_FEED")
    return feed


def round_of(number: int) -> int:
    """A round's number; InvalidArgument unless positive."""
    return positive("round", number)


def burn_height_of(value: int) -> int:
    """A burn height, with room for the blocks that are added to it."""
    if not 0 < value <= INT64_MAX // 2:
        raise InvalidArgument.of("burn_height", "is no burn height")
    return value


def positive(field: str, number: int) -> int:
    """A number of a request that must be positive; InvalidArgument naming `field` otherwise."""
    if number < 1:
        raise InvalidArgument.of(field, "expected a positive number")
    return number


def timestamp(time: dt.datetime) -> Timestamp:
    """A protobuf timestamp of a UTC time."""
    result = Timestamp()
    result.FromDatetime(time)
    return result


def price_message(price: Price) -> pb.Price:
    """A price as the API shows it."""
    return pb.Price(
        feed=feed_message(price.feed),
        round=price.round,
        status=_STATUSES[price.status],
        reason=price.reason,
        price_usd_e8=price.price_usd_e8,
        confidence_usd_e8=price.confidence_usd_e8,
        observe_time=None if price.observe_time is None else timestamp(price.observe_time),
        burn_height=price.burn_height,
        synthetic=price.synthetic,
    )


def feed_message(feed: Feed) -> price_pb2.Feed.ValueType:
    """A feed as the API names it."""
    return price_pb2.FEED_BTC_USD if feed is Feed.BTC_USD else price_pb2.FEED_STX_USD


def observation_message(judged: JudgedObservation) -> pb.Observation:
    """An observation and what became of it."""
    one = judged.observation
    return pb.Observation(
        source=one.source,
        price_usd_e8=one.price_usd_e8,
        observe_time=timestamp(one.observe_time),
        used=judged.used,
        rejection=str(judged.rejection or ""),
        simulated=one.simulated,
        vote_ppm=judged.vote_ppm,
    )


def round_response(found: Round, signature: bytes) -> pb.GetRoundResponse:
    """A round with its observations; signed if it is OK, which an empty signature says it is not."""
    return pb.GetRoundResponse(
        price=price_message(found.price),
        observations=[observation_message(one) for one in found.observations],
        signed_round=signed_round(found.price, signature) if signature else None,
    )


def signed_round(price: Price, signature: bytes) -> price_pb2.PriceRound:
    """A round as the gateway takes it; its time is exactly what was signed."""
    seconds = 0 if price.observe_time is None else unix_seconds(price.observe_time)
    return price_pb2.PriceRound(
        feed=feed_message(price.feed),
        round=price.round,
        price_usd_e8=price.price_usd_e8,
        confidence_usd_e8=price.confidence_usd_e8,
        observe_time=Timestamp(seconds=seconds),
        burn_height=price.burn_height,
        signature=signature,
    )


def receipt_message(row: ReceiptRow) -> price_pb2.SettlementReceipt:
    """A signed receipt."""
    receipt = price_pb2.SettlementReceipt(
        btc_price_usd_e8=row.btc_price_usd_e8,
        stx_price_usd_e8=row.stx_price_usd_e8,
        observe_time=Timestamp(seconds=row.observe_seconds),
        burn_height=row.burn_height,
        signature=row.signature,
    )
    if row.policy_id is not None and row.activation_number is not None:
        receipt.activation.policy = resource_name("policies", row.policy_id)
        receipt.activation.activation_number = row.activation_number
    else:
        receipt.expiry.expiration_burn_height = row.burn_height
    return receipt


def activation_request(request: pb.CreateActivationReceiptRequest) -> ActivationRequest:
    """The recorded activation of a request; InvalidArgument naming the field that is wrong."""
    if not request.HasField("request_market_time"):
        raise InvalidArgument.of("request_market_time", "is required")
    if request.floor_price_usd_e8 >= request.strike_price_usd_e8:
        raise InvalidArgument.of("floor_price_usd_e8", "must be below the strike")
    return ActivationRequest(
        parse_resource_name("policies", request.policy, "policy"),
        positive("activation_number", request.activation_number),
        positive("request_burn_height", request.request_burn_height),
        request.request_market_time.ToDatetime(dt.UTC),
        positive("strike_price_usd_e8", request.strike_price_usd_e8),
        positive("floor_price_usd_e8", request.floor_price_usd_e8),
        positive("protected_amount_sats", request.protected_amount_sats),
        _token(request.settlement_token),
    )


def _token(number: int) -> Token:
    try:
        return Token(number)
    except ValueError:
        raise InvalidArgument.of("settlement_token", "is not a known token") from None


def receipt_prices(request: pb.EnsurePublishedRoundsRequest) -> Mapping[Feed, int]:
    """The prices that rounds must agree with, 0 where any will do; InvalidArgument for a negative one."""
    for field in ("btc_price_usd_e8", "stx_price_usd_e8"):
        if getattr(request, field) < 0:
            raise InvalidArgument.of(field, "must not be negative")
    return {Feed.BTC_USD: request.btc_price_usd_e8, Feed.STX_USD: request.stx_price_usd_e8}


def receipt_purpose(request: pb.GetReceiptRequest) -> str:
    """The key of the purpose that a request names; InvalidArgument when it names none."""
    match request.WhichOneof("purpose"):
        case "activation":
            policy = parse_resource_name("policies", request.activation.policy, "activation.policy")
            return activation_purpose(policy, request.activation.activation_number)
        case "expiry":
            return expiry_purpose(request.expiry.expiration_burn_height)
    raise InvalidArgument.of("purpose", "exactly one is required")


def outcome_of(number: int) -> PublicationState:
    """How a publication ended; InvalidArgument for an unspecified outcome."""
    for outcome, state in _OUTCOMES.items():
        if outcome == number:
            return state
    raise InvalidArgument.of("outcome", "expected CONFIRMED or REFUSED")


def resume_round(token: str) -> int | None:
    """The round after which a watch resumes; None to start with the latest. InvalidArgument if it is none."""
    return _earlier_number("resume_token", token, "INVALID_RESUME_TOKEN") if token else None


def receipt_number(cursor: str) -> int:
    """The number after which a list of receipts goes on; 0 to start with the first. InvalidArgument if it is none."""
    return _earlier_number("cursor", cursor, "INVALID_CURSOR") if cursor else 0


def _earlier_number(field: str, token: str, reason: str) -> int:
    if not token.isascii() or not token.isdigit() or not 0 < int(token) <= INT64_MAX:
        raise InvalidArgument.of(field, "is not from an earlier response", reason)
    return int(token)


def watch_response(price: pb.Price) -> pb.WatchPriceResponse:
    """One element of a watch."""
    return pb.WatchPriceResponse(price=price, resume_token=str(price.round))


def no_price(feed: Feed, synthetic: bool) -> Price:
    """What is shown before the first round."""
    reason = "NO_ROUND_YET: nothing was observed yet"
    return Price(feed, 0, PriceStatus.UNAVAILABLE, reason, 0, 0, None, None, 0, synthetic)
