"""What is watched on the oracle besides the calls that it serves."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from services.oracle.domain.prices import Price, PriceStatus, Round

PRICE_OK = Gauge("bithedge_oracle_price_ok", "1 while the newest round is OK", ["feed"])
ROUND_TIME = Gauge("bithedge_oracle_round_market_seconds", "Market time of the newest round", ["feed"])
PUBLICATION_PENDING = Gauge("bithedge_oracle_publication_pending", "1 while a publication is in flight", ["feed"])
ROUNDS = Counter("bithedge_oracle_rounds_total", "Rounds by status", ["feed", "status"])
REJECTIONS = Counter("bithedge_oracle_rejections_total", "Observations not used", ["feed", "source", "rejection"])


def record_round(one: Round) -> None:
    """Counts a stored round."""
    feed, price = one.price.feed.name, one.price
    ROUNDS.labels(feed, str(price.status)).inc()
    for judged in one.observations:
        if judged.rejection is not None:
            REJECTIONS.labels(feed, judged.observation.source, str(judged.rejection)).inc()
    record_newest(price)


def record_newest(price: Price) -> None:
    """Shows the newest round of a feed."""
    PRICE_OK.labels(price.feed.name).set(price.status is PriceStatus.OK)
    ROUND_TIME.labels(price.feed.name).set(price.round)
