"""Latest prices as they are answered: judged and serialized once, however many callers and streams get them."""

from __future__ import annotations

from typing import NamedTuple

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as pb

from kernel.rpc.tip import TipFollower
from services.oracle import convert
from services.oracle.domain.freshness import FreshnessRules, judged_at
from services.oracle.domain.prices import Feed, Price


class Answer(NamedTuple):
    """One price in the bytes of both messages that carry it."""

    latest: bytes
    watched: bytes


class PriceAnswers:
    """Messages of `GetPrice` and `WatchPrice`. The last of each feed is kept for as long as it says the same: until
    market time moves on, and never while market time is not heard of."""

    def __init__(self, tip: TipFollower, rules: FreshnessRules) -> None:
        self._tip = tip
        self._rules = rules
        self._last: dict[Feed, tuple[Price, gateway_pb2.Tip, Answer]] = {}

    def of(self, price: Price) -> Answer:
        """A round, judged by its age in market time now; Unavailable before market time is known."""
        tip, lost_seconds = self._tip.tip, self._tip.lost_seconds
        kept = self._last.get(price.feed)
        if kept is not None and kept[0] is price and kept[1] is tip and not lost_seconds:
            return kept[2]
        shown = convert.price_message(judged_at(price, self._tip.now(), self._rules, lost_seconds))
        answer = Answer(
            pb.GetPriceResponse(price=shown).SerializeToString(),
            convert.watch_response(shown).SerializeToString(),
        )
        if not lost_seconds:
            self._last[price.feed] = (price, tip, answer)
        return answer
