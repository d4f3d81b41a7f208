"""What streams of prices are sent: judged and serialized once, however many streams send it."""

from __future__ import annotations

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2

from kernel.rpc.tip import TipFollower
from services.oracle import convert
from services.oracle.domain.freshness import FreshnessRules, judged_at
from services.oracle.domain.prices import Feed, Price


class WatchAnswers:
    """Messages of `WatchPrice` in bytes. The last of each feed is kept for as long as it says the same: until
    market time moves on, and never while market time is not heard of."""

    def __init__(self, tip: TipFollower, rules: FreshnessRules) -> None:
        self._tip = tip
        self._rules = rules
        self._last: dict[Feed, tuple[Price, gateway_pb2.Tip, bytes]] = {}

    def of(self, price: Price) -> bytes:
        """The message of a round, judged by its age in market time now; Unavailable before market time is known."""
        tip, lost_seconds = self._tip.tip, self._tip.lost_seconds
        kept = self._last.get(price.feed)
        if kept is not None and kept[0] is price and kept[1] is tip and not lost_seconds:
            return kept[2]
        shown = judged_at(price, self._tip.now(), self._rules, lost_seconds)
        answer = convert.watch_response(shown).SerializeToString()
        if not lost_seconds:
            self._last[price.feed] = (price, tip, answer)
        return answer
