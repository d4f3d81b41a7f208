"""Between protobuf and domain: rounds, observations, candles, averages and volatilities of the past."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import InvalidArgument
from kernel.units import BPS, INT64_MAX
from services.oracle.convert import observation_message, price_message, timestamp
from services.oracle.domain.candles import Candle, CandleSpan
from services.oracle.domain.history import VolatilityEstimate
from services.oracle.domain.prices import Feed, JudgedObservation, Price
from services.oracle.domain.realised import FEWEST_BARS, MOST_BARS, RealisedVolatility
from services.oracle.domain.window import DEFAULT_COVERAGE_BPS, WindowAverage

_SPANS: Final = {
    pb.CANDLE_SPAN_ONE_MINUTE: CandleSpan.ONE_MINUTE,
    pb.CANDLE_SPAN_FIVE_MINUTES: CandleSpan.FIVE_MINUTES,
    pb.CANDLE_SPAN_ONE_HOUR: CandleSpan.ONE_HOUR,
    pb.CANDLE_SPAN_ONE_DAY: CandleSpan.ONE_DAY,
}
# More than a round has observations.
_POSITIONS: Final = 1 << 15
_SPAN_NUMBERS: Final = {span: number for number, span in _SPANS.items()}


def span_of(field: str, number: int) -> CandleSpan:
    """A candle's span; InvalidArgument naming `field` for none or an unknown one."""
    for known, span in _SPANS.items():
        if known == number:
            return span
    raise InvalidArgument.of(field, "expected one of the spans of CandleSpan", "INVALID_SPAN")


def seconds_of(request: Any, field: str) -> int | None:
    """A time of a request in Unix seconds, None where it is not set; InvalidArgument unless it is whole seconds."""
    if not request.HasField(field):
        return None
    time: Timestamp = getattr(request, field)
    if time.nanos or not 0 <= time.seconds <= INT64_MAX // 4:
        raise InvalidArgument.of(field, "expected whole seconds since 1970")
    return time.seconds


def time_of(request: pb.GetRoundAfterRequest | pb.GetVolatilityRequest) -> dt.datetime:
    """The market time of a request, UTC; InvalidArgument where there is none, or no such time."""
    if request.HasField("time"):
        try:
            return request.time.ToDatetime(dt.UTC)
        except (ValueError, OverflowError):
            pass
    raise InvalidArgument.of("time", "expected a market time")


def page_token(kind: str, before: int) -> str:
    """An opaque token for what a list of this kind has below a number."""
    return base64.urlsafe_b64encode(f"{kind}:{before}".encode()).decode().rstrip("=")


def page_start(kind: str, token: str) -> int | None:
    """Where a page starts; None for the first page. InvalidArgument for a token that is not of this list."""
    if not token:
        return None
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
        found, _, number = text.partition(":")
        if found == kind and 0 < int(number) <= INT64_MAX:
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise InvalidArgument.of("page_token", "is not from an earlier response to the same list", "INVALID_PAGE_TOKEN")


def _bounds(request: Any) -> tuple[int, int | None]:
    """Start (0 where not set) and end of a list's time; InvalidArgument for bounds that hold nothing."""
    start, end = seconds_of(request, "start_time"), seconds_of(request, "end_time")
    if start is not None and end is not None and end <= start:
        raise InvalidArgument.of("end_time", "must be later than start_time")
    return start or 0, end


def _first_of(*bounds: int | None) -> int:
    """The lowest of upper bounds, of which some do not bound."""
    return min((one for one in bounds if one is not None), default=INT64_MAX)


@dataclass(frozen=True)
class RoundPage:
    """A page of rounds numbered above `after` and below `before`."""

    kind: str
    after: int
    before: int

    @classmethod
    def of(cls, request: pb.ListRoundsRequest, feed: Feed) -> RoundPage:
        """What a request asks for; InvalidArgument for bounds that hold nothing or a token of another list."""
        kind = str(feed.value)
        start, end = _bounds(request)
        return cls(kind, start, _first_of(page_start(kind, request.page_token), None if end is None else end + 1))


def rounds_response(page: RoundPage, prices: Sequence[Price], size: int) -> pb.ListRoundsResponse:
    """A page: `prices` holds one more than the page if there is a next one."""
    shown = prices[:size]
    following = page_token(page.kind, shown[-1].round) if len(prices) > size else ""
    return pb.ListRoundsResponse(prices=[price_message(price) for price in shown], next_page_token=following)


@dataclass(frozen=True)
class ObservationPage:
    """A page of observations of rounds numbered above `after`, below the place (round, position)."""

    kind: str
    after: int
    before: tuple[int, int]

    @classmethod
    def of(cls, request: pb.ListObservationsRequest, feed: Feed) -> ObservationPage:
        """What a request asks for; InvalidArgument as for rounds."""
        kind = f"observations {feed.value}"
        start, end = _bounds(request)
        last = None if end is None else (end + 1) * _POSITIONS
        before = _first_of(page_start(kind, request.page_token), last)
        return cls(kind, start, divmod(before, _POSITIONS))


def observations_response(
    page: ObservationPage, found: Sequence[tuple[int, int, JudgedObservation]], size: int
) -> pb.ListObservationsResponse:
    """A page: `found` holds one more than the page if there is a next one."""
    shown = found[:size]
    observations = [
        pb.RoundObservation(round=number, observation=observation_message(judged)) for number, _, judged in shown
    ]
    following = page_token(page.kind, shown[-1][0] * _POSITIONS + shown[-1][1]) if len(found) > size else ""
    return pb.ListObservationsResponse(observations=observations, next_page_token=following)


@dataclass(frozen=True)
class CandlePage:
    """A page of candles that start from `first` on and before `before`."""

    kind: str
    span: CandleSpan
    first: int
    before: int

    @classmethod
    def of(cls, request: pb.ListCandlesRequest, feed: Feed) -> CandlePage:
        """What a request asks for; InvalidArgument as for rounds, and for no span."""
        span = span_of("span", request.span)
        kind = f"candles {feed.value} {span.value}"
        start, end = _bounds(request)
        return cls(kind, span, start, _first_of(page_start(kind, request.page_token), end))


def candles_response(page: CandlePage, candles: Sequence[Candle], size: int, now: int) -> pb.ListCandlesResponse:
    """A page: `candles` holds one more than the page if there is a next one."""
    shown = candles[:size]
    following = page_token(page.kind, shown[-1].start) if len(candles) > size else ""
    return pb.ListCandlesResponse(candles=[_candle(one, now) for one in shown], next_page_token=following)


def _candle(candle: Candle, now: int) -> pb.Candle:
    return pb.Candle(
        start_time=Timestamp(seconds=candle.start),
        open_usd_e8=candle.open_usd_e8,
        high_usd_e8=candle.high_usd_e8,
        low_usd_e8=candle.low_usd_e8,
        close_usd_e8=candle.close_usd_e8,
        round_count=candle.count,
        covered_seconds=candle.covered_seconds,
        complete=candle.start + candle.span <= now,
    )


def window_of(request: pb.GetTwapRequest) -> tuple[int, int]:
    """Start and end of a window; InvalidArgument where one is missing."""
    bounds = [seconds_of(request, field) for field in ("start_time", "end_time")]
    for field, bound in zip(("start_time", "end_time"), bounds, strict=True):
        if bound is None:
            raise InvalidArgument.of(field, "is required")
    return bounds[0] or 0, bounds[1] or 0


def minimum_coverage(request: pb.GetTwapRequest) -> int:
    """Basis points; InvalidArgument unless they are up to 10,000."""
    if not 0 <= request.minimum_coverage_bps <= BPS:
        raise InvalidArgument.of("minimum_coverage_bps", f"expected 0 to {BPS}")
    return request.minimum_coverage_bps or DEFAULT_COVERAGE_BPS


def twap_response(start: int, end: int, found: WindowAverage) -> pb.GetTwapResponse:
    """An average with its window."""
    return pb.GetTwapResponse(
        price_usd_e8=found.price_usd_e8,
        start_time=Timestamp(seconds=start),
        end_time=Timestamp(seconds=end),
        window_seconds=found.window_seconds,
        covered_seconds=found.covered_seconds,
        coverage_bps=found.coverage_bps,
    )


def volatility_window(request: pb.GetVolatilityRequest) -> tuple[CandleSpan, int] | None:
    """Span and number of the bars of a window; None where none was asked for. InvalidArgument for one that is no
    whole number of bars, or too few or too many."""
    if not request.HasField("window"):
        if request.bar:
            raise InvalidArgument.of("bar", "goes with a window")
        return None
    if request.HasField("time"):
        raise InvalidArgument.of("time", "goes without a window, which ends now")
    span = span_of("bar", request.bar or pb.CANDLE_SPAN_ONE_DAY)
    seconds = request.window.seconds
    if request.window.nanos or seconds % span or not FEWEST_BARS <= seconds // span <= MOST_BARS:
        raise InvalidArgument.of("window", f"expected {FEWEST_BARS} to {MOST_BARS} whole bars of {span} seconds")
    return span, seconds // span


def window_response(window: tuple[CandleSpan, int], found: RealisedVolatility) -> pb.GetVolatilityResponse:
    """The volatility of a window alone."""
    span, count = window
    return pb.GetVolatilityResponse(
        as_of_time=Timestamp(seconds=found.end),
        window=pb.WindowVolatility(
            window=Duration(seconds=span * count),
            bar=_SPAN_NUMBERS[span],
            bar_count=found.bars,
            close_to_close=found.close_to_close,
            ewma=found.ewma,
            parkinson=found.parkinson,
        ),
    )


def volatility_response(found: VolatilityEstimate) -> pb.GetVolatilityResponse:
    """An estimate as the API shows it."""
    return pb.GetVolatilityResponse(
        close_to_close_30d=found.close_to_close_30d,
        close_to_close_90d=found.close_to_close_90d,
        ewma=found.ewma,
        parkinson_30d=found.parkinson_30d,
        source=found.source,
        as_of_time=timestamp(found.as_of),
    )
