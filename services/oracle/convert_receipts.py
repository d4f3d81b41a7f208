"""Between protobuf and domain: receipts with their evidence, both ways."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import price_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name
from services.oracle.convert import (
    feed_of,
    observation_message,
    positive,
    price_message,
    receipt_message,
    signed_round,
    timestamp,
)
from services.oracle.domain.evidence import Evidence
from services.oracle.domain.prices import (
    Feed,
    JudgedObservation,
    Observation,
    Price,
    PriceStatus,
    Rejection,
    Round,
)
from services.oracle.messages import Message, activation_message, expiry_message
from services.oracle.receipts import ExpiryPreview, FoundReceipt
from services.oracle.signing import ACTIVATION_RECEIPT, EXPIRY_RECEIPT
from services.oracle.tables import ReceiptRow

_STATUSES: Final = {
    pb.PRICE_STATUS_OK: PriceStatus.OK,
    pb.PRICE_STATUS_DEGRADED: PriceStatus.DEGRADED,
    pb.PRICE_STATUS_UNAVAILABLE: PriceStatus.UNAVAILABLE,
}
# Each reads the rounds of two hours.
_MOST_PREVIEWS: Final = 50
# 9999-12-31T23:59:59Z: what a Timestamp may be.
_LAST_SECOND: Final = 253_402_300_799
Sign = Callable[[Price], bytes]


def receipt_response(found: FoundReceipt, sign: Sign, deployer: str, chain_id: int) -> pb.GetReceiptResponse:
    """A receipt with its evidence; OK rounds are signed by `sign`, for a deployer's contracts on a chain."""
    used, passed = ([_receipt_round(one, sign) for one in _in_order(some)] for some in (found.used, found.passed))
    request = found.row.request_market_time
    return pb.GetReceiptResponse(
        receipt=receipt_message(found.row),
        prices=[one.price for one in used],
        rounds=used,
        passed_rounds=passed,
        request_market_time=None if request is None else timestamp(request),
        contract_deployer=deployer,
        chain_id=chain_id,
    )


def receipts_response(cursor: str, rows: Sequence[ReceiptRow]) -> pb.ListReceiptsResponse:
    """A page of receipts after `cursor`, which stays where there are none."""
    return pb.ListReceiptsResponse(
        receipts=map(receipt_message, rows), next_cursor=str(rows[-1].number) if rows else cursor
    )


def preview_heights(request: pb.PreviewExpiryReceiptsRequest) -> Sequence[int]:
    """Expiration heights; InvalidArgument naming the field for one that is not positive, or for too many."""
    field = "expiration_burn_heights"
    if len(request.expiration_burn_heights) > _MOST_PREVIEWS:
        raise InvalidArgument.of(field, f"at most {_MOST_PREVIEWS} at once")
    return [positive(f"{field}[{place}]", height) for place, height in enumerate(request.expiration_burn_heights)]


def previews_response(previews: Iterable[ExpiryPreview]) -> pb.PreviewExpiryReceiptsResponse:
    """What would decide some heights, in their order."""
    return pb.PreviewExpiryReceiptsResponse(previews=[pb.ExpiryPreview(**vars(one)) for one in previews])


def _in_order(rounds: Mapping[Feed, Sequence[Round]]) -> Iterable[Round]:
    return (one for feed in Feed for one in rounds[feed])


def _receipt_round(one: Round, sign: Sign) -> pb.ReceiptRound:
    ok = one.price.status is PriceStatus.OK
    return pb.ReceiptRound(
        price=price_message(one.price),
        observations=[observation_message(judged) for judged in one.observations],
        signed_round=signed_round(one.price, sign(one.price)) if ok else None,
    )


def signed_message(receipt: price_pb2.SettlementReceipt) -> tuple[str, Message]:
    """What the oracle key signed for a receipt, and its kind; InvalidArgument where it names no purpose or another
    height than its own."""
    prices = (receipt.btc_price_usd_e8, receipt.stx_price_usd_e8)
    observed = receipt.observe_time.seconds
    match receipt.WhichOneof("purpose"):
        case "activation":
            policy = parse_resource_name("policies", receipt.activation.policy, "receipt.activation.policy")
            number = receipt.activation.activation_number
            return ACTIVATION_RECEIPT, activation_message(policy, number, *prices, observed, receipt.burn_height)
        case "expiry":
            height = receipt.expiry.expiration_burn_height
            if height != receipt.burn_height:
                raise InvalidArgument.of("receipt.burn_height", "is not the expiration height")
            return EXPIRY_RECEIPT, expiry_message(height, *prices, observed)
    raise InvalidArgument.of("receipt.purpose", "exactly one is required")


def evidence_of(response: pb.GetReceiptResponse) -> Evidence:
    """What a receipt is shown with. InvalidArgument naming the field for what no oracle would have sent."""
    receipt = response.receipt
    _time("receipt.observe_time", receipt.observe_time)
    if receipt.observe_time.nanos:
        raise InvalidArgument.of("receipt.observe_time", "is not in whole seconds")
    is_activation = receipt.WhichOneof("purpose") == "activation"
    if is_activation != response.HasField("request_market_time"):
        raise InvalidArgument.of("request_market_time", "belongs to an activation, and to nothing else")
    if list(response.prices) != [one.price for one in response.rounds]:
        raise InvalidArgument.of("prices", "are not those of the rounds")
    return Evidence(
        {Feed.BTC_USD: receipt.btc_price_usd_e8, Feed.STX_USD: receipt.stx_price_usd_e8},
        receipt.observe_time.seconds,
        _time("request_market_time", response.request_market_time) if is_activation else None,
        _by_feed("rounds", response.rounds),
        _by_feed("passed_rounds", response.passed_rounds),
    )


def _by_feed(field: str, messages: Iterable[pb.ReceiptRound]) -> Mapping[Feed, Sequence[Round]]:
    found: dict[Feed, list[Round]] = {feed: [] for feed in Feed}
    for place, message in enumerate(messages):
        one = _round(f"{field}[{place}]", message)
        found[one.price.feed].append(one)
    return found


def _round(field: str, message: pb.ReceiptRound) -> Round:
    price, observations = message.price, [_judged(field, one) for one in message.observations]
    status = _STATUSES.get(price.status)
    if status is None:
        raise InvalidArgument.of(f"{field}.price.status", "is not known")
    if not 0 < price.round <= _LAST_SECOND:
        raise InvalidArgument.of(f"{field}.price.round", "is no time")
    times = [one.observation.observe_time for one in observations if one.used]
    return Round(
        Price(
            feed_of(price.feed),
            price.round,
            status,
            price.reason,
            price.price_usd_e8,
            price.confidence_usd_e8,
            _time(f"{field}.price.observe_time", price.observe_time) if price.HasField("observe_time") else None,
            min(times, default=None),
            price.burn_height,
            price.synthetic,
        ),
        observations,
    )


def _time(field: str, told: Timestamp) -> dt.datetime:
    """InvalidArgument unless from 1970 to 9999: what the binary form carries may be anything."""
    if not (0 <= told.seconds <= _LAST_SECOND and 0 <= told.nanos < 1_000_000_000):
        raise InvalidArgument.of(field, "is no time from 1970 to 9999")
    return told.ToDatetime(dt.UTC)


def _judged(field: str, message: pb.Observation) -> JudgedObservation:
    if message.used == bool(message.rejection):
        raise InvalidArgument.of(f"{field}.observations", f"{message.source} was used and rejected, or neither")
    if message.rejection and message.rejection not in set(Rejection):
        raise InvalidArgument.of(f"{field}.observations", f"{message.rejection} is no reason to reject")
    time = _time(f"{field}.observations.observe_time", message.observe_time)
    observation = Observation(message.source, message.price_usd_e8, time, message.simulated)
    return JudgedObservation(observation, Rejection(message.rejection) if message.rejection else None, message.vote_ppm)
