"""What is watched on the oracle besides the calls that it serves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prometheus_client import Counter, Gauge

from services.oracle.domain.breaker import BELIEVED, OVERRIDDEN, REFUSED, BreakerState
from services.oracle.domain.onchain import OnchainDoubt, OnchainView
from services.oracle.domain.prices import Feed, Price, PriceStatus, Round

PRICE_OK = Gauge("bithedge_oracle_price_ok", "1 while the newest round is OK", ["feed"])
ROUND_TIME = Gauge("bithedge_oracle_round_market_seconds", "Market time of the newest round", ["feed"])
PUBLICATION_PENDING = Gauge("bithedge_oracle_publication_pending", "1 while a publication is in flight", ["feed"])
ROUNDS = Counter("bithedge_oracle_rounds_total", "Rounds by status", ["feed", "status"])
PRICE_STATUS = Gauge("bithedge_oracle_price_status", "1 for the status of the newest round", ["feed", "status"])
BREAKER_TRIPPED = Gauge("bithedge_oracle_breaker_tripped", "1 while a jump is not believed", ["feed"])
BREAKER_ROUNDS = Gauge("bithedge_oracle_breaker_level_rounds", "Rounds in which a jump was confirmed", ["feed"])
JUMPS = Counter("bithedge_oracle_jumps_total", "Rounds with a jump, by what became of it", ["feed", "outcome"])
OVERRIDES = Counter("bithedge_oracle_price_overrides_total", "What operators did with overrides", ["feed", "act"])
READINGS = Counter("bithedge_oracle_readings_total", "Quotes that came", ["source", "pair", "transport"])
READING_FAULTS = Counter(
    "bithedge_oracle_reading_faults_total",
    "Quotes that were no price, and attempts without an answer",
    ["source", "pair", "transport", "fault"],
)
WEBSOCKET_UP = Gauge("bithedge_oracle_websocket_up", "1 while a source's websocket speaks", ["source"])
REJECTIONS = Counter("bithedge_oracle_rejections_total", "Observations not used", ["feed", "source", "rejection"])

OBSERVATIONS_REMOVED = Counter("bithedge_oracle_observations_removed_total", "Observations too old to keep", ["feed"])
ONCHAIN_DIFFERENCE = Gauge(
    "bithedge_oracle_onchain_difference_bps", "Distance of the price on chain from the newest OK one", ["feed"]
)
ONCHAIN_AGE = Gauge("bithedge_oracle_onchain_age_seconds", "Market age of the price on chain", ["feed"])
ONCHAIN_DOUBT = Gauge("bithedge_oracle_onchain_doubt", "1 while the price on chain is in doubt", ["feed", "doubt"])
ONCHAIN_DOUBTS = Counter(
    "bithedge_oracle_onchain_doubts_total", "Times that the price on chain came into doubt", ["feed", "doubt"]
)

_JUMPS: Final = {REFUSED: "refused", BELIEVED: "believed", OVERRIDDEN: "overridden"}


def record_round(one: Round) -> None:
    """Counts a stored round."""
    feed, price = one.price.feed.name, one.price
    ROUNDS.labels(feed, str(price.status)).inc()
    for judged in one.observations:
        if judged.rejection is not None:
            REJECTIONS.labels(feed, judged.observation.source, str(judged.rejection)).inc()
    word = price.reason.partition(":")[0]
    if word in _JUMPS:
        JUMPS.labels(feed, _JUMPS[word]).inc()
    record_newest(price)


def record_newest(price: Price) -> None:
    """Shows the newest round of a feed."""
    PRICE_OK.labels(price.feed.name).set(price.status is PriceStatus.OK)
    for status in PriceStatus:
        PRICE_STATUS.labels(price.feed.name, str(status)).set(price.status is status)
    ROUND_TIME.labels(price.feed.name).set(price.round)


def record_breaker(feed: Feed, breaker: BreakerState) -> None:
    """Shows a feed's breaker."""
    BREAKER_TRIPPED.labels(feed.name).set(breaker.tripped)
    BREAKER_ROUNDS.labels(feed.name).set(0 if breaker.level is None else breaker.level.rounds)


def record_onchain(feed: Feed, view: OnchainView, new: Collection[OnchainDoubt]) -> None:
    """Shows how the price on chain compares with ours; `new` are the doubts that just came."""
    ONCHAIN_DIFFERENCE.labels(feed.name).set(view.difference_bps)
    ONCHAIN_AGE.labels(feed.name).set(view.age_seconds)
    for doubt in OnchainDoubt:
        ONCHAIN_DOUBT.labels(feed.name, str(doubt)).set(doubt in view.doubts)
        if doubt in new:
            ONCHAIN_DOUBTS.labels(feed.name, str(doubt)).inc()
