"""An attack on the price, step by step, through the real observer, store, breaker and readers.

One exchange falls by half, then two of five, then three of five; then a crash that is real; then one that only three
exchanges are left to see, which two operators have to believe. After every step a quote, a valuation, a receipt and
the publisher ask for the price, and none of them gets one that is not OK.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2
from prometheus_client import REGISTRY

from kernel.errors import FailedPrecondition, Unavailable
from kernel.rpc.caller import Role
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower
from kernel.units import Token
from services.oracle.convert import timestamp
from services.oracle.domain.history import DailyBar
from services.oracle.domain.prices import Feed, Observation
from services.policy.sources import Sources
from services.pool.market import OraclePrices
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import (
    BTC,
    START,
    STX,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    eventually,
    running_oracle,
)
from tests.tokens import metadata

EXCHANGES: Final = ("kraken", "coinbase", "bitstamp", "binance", "okx")
ANN, BOB = metadata("ann", Role.OPERATOR), metadata("bob", Role.OPERATOR)
OK, DOUBTED = "OK", "DEGRADED"


@dataclass
class Exchanges(ScriptedPrices):
    """Five exchanges, each of which says its own price of BTC in USD, or nothing; of STX all say the same."""

    said: Sequence[int | None] = (8_000,) * 5

    async def observe(self, feed: Feed, at: dt.datetime) -> Sequence[Observation]:
        """What each says."""
        quotes = [USD // 4 if feed is Feed.STX_USD else (price or 0) * USD for price in self.said]
        time = at - dt.timedelta(seconds=2)
        return [Observation(name, quote, time) for name, quote in zip(EXCHANGES, quotes, strict=True) if quote]

    def daily_bars(self, feed: Feed) -> Sequence[DailyBar]:
        """A year that went up and down by a hundredth: whoever values policies needs a past."""
        closes = [(100 + day % 2) * 80 * USD for day in range(365)]
        last = START.date() - dt.timedelta(days=1)
        days = [last - dt.timedelta(days=back) for back in reversed(range(365))]
        return [DailyBar(day, close, max(closes), min(closes), close) for day, close in zip(days, closes, strict=True)]


@dataclass(frozen=True)
class Step:
    """`minutes` rounds in which the exchanges say `said`; then the last round's status, first word of its reason,
    price in USD, and who was rejected as an outlier. `operators` agree on a range before, if they do;
    `restart`: another process takes over before."""

    what: str
    minutes: int
    said: Sequence[int | None]
    status: str
    word: str
    price: int
    outliers: Sequence[str] = ()
    operators: tuple[int, int] | None = None
    restart: bool = False


HONEST: Final = (8_000, 8_001, 8_002, 8_003, 8_004)
CRASHED: Final = (5_600, 5_601, 5_602, 5_603, 5_604)
SEEN_BY_THREE: Final = (None, None, 4_000, 4_001, 4_002)
MAJORITY: Final = (4_000, 4_000, 4_000, 8_003, 8_004)
ATTACK: Final = (
    Step("all is well", 2, HONEST, OK, "", 8_002),
    Step("one falls by half", 5, (4_000, *HONEST[1:]), OK, "", 8_002, EXCHANGES[:1]),
    Step("two of five, in collusion", 5, (4_000, 4_000, *HONEST[2:]), OK, "", 8_002, EXCHANGES[:2]),
    Step("three of five: a majority", 1, MAJORITY, DOUBTED, "JUMP", 4_000, EXCHANGES[3:]),
    Step("for an hour", 60, MAJORITY, DOUBTED, "JUMP", 4_000, EXCHANGES[3:]),
    Step("after a restart", 9, MAJORITY, DOUBTED, "JUMP", 4_000, EXCHANGES[3:], None, True),
    Step("one of them comes back", 1, (4_000, 4_000, *HONEST[2:]), OK, "", 8_002, EXCHANGES[:2]),
    Step("all are honest again", 2, HONEST, OK, "", 8_002),
    Step("a real crash: 30% in a minute", 1, CRASHED, DOUBTED, "JUMP", 5_602),
    Step("seen by all, another process takes over", 1, CRASHED, DOUBTED, "JUMP", 5_602, (), None, True),
    Step("in the third round, after two minutes", 1, CRASHED, OK, "JUMP_BELIEVED", 5_602),
    Step("it is the price now", 5, CRASHED, OK, "", 5_602),
    Step("two are cut off", 10, (None, None, *CRASHED[2:]), OK, "", 5_603),
    Step("and it crashes again", 30, SEEN_BY_THREE, DOUBTED, "JUMP", 4_001),
    Step("operators believe another range", 1, SEEN_BY_THREE, DOUBTED, "JUMP", 4_001, (), (4_100, 4_500)),
    Step("operators believe this one", 1, SEEN_BY_THREE, OK, "JUMP_OVERRIDDEN", 4_001, (), (3_800, 4_200)),
    Step("it is the price now", 1, SEEN_BY_THREE, OK, "", 4_001),
    Step("two sources are no price", 1, (None, None, None, 4_001, 4_003), DOUBTED, "TOO_FEW_SOURCES", 4_002),
)


@dataclass
class Readers:
    """Those who decide money by a price: what they got, as round and price, or None when refused."""

    sources: Sources
    valuation: OraclePrices
    requests: list[pb.CreateActivationReceiptRequest]

    async def quote(self) -> int | None:
        """The price of a quote."""
        try:
            return (await self.sources.prices())[0].price_usd_e8
        except FailedPrecondition:
            return None

    async def value(self) -> int | None:
        """The price that the pool values itself by."""
        try:
            return (await self.valuation.latest(Token.SBTC)).btc_e8
        except Unavailable:
            return None

    async def receipt(self, oracle: Oracle) -> int | None:
        """The price of a receipt for an activation that was requested just before the newest round."""
        request = pb.CreateActivationReceiptRequest(
            policy=f"policies/{len(self.requests):032x}",
            activation_number=1,
            request_burn_height=oracle.gateway.burn_height,
            request_market_time=timestamp(oracle.gateway.market_time - dt.timedelta(seconds=30)),
            strike_price_usd_e8=8_500 * USD,
            floor_price_usd_e8=3_000 * USD,
            protected_amount_sats=10_000_000,
            settlement_token=money_pb2.TOKEN_SBTC,
        )
        self.requests.append(request)
        return await receipt_price(oracle, request)


async def receipt_price(oracle: Oracle, request: pb.CreateActivationReceiptRequest) -> int | None:
    """The price of a receipt, None while there is none."""
    try:
        with remote_errors():
            answer = await oracle.stub.CreateActivationReceipt(request, metadata=WORKFLOWS)
    except Unavailable:
        return None
    price: int = answer.receipt.btc_price_usd_e8
    return price


@asynccontextmanager
async def readers(oracle: Oracle, requests: list[pb.CreateActivationReceiptRequest]) -> AsyncIterator[Readers]:
    """The policy service's and the pool's own readers, connected to the oracle; `requests` were made before."""
    tips = TipFollower(oracle.gateway_channel)
    following = asyncio.ensure_future(tips.follow())

    async def caught_up() -> bool:
        return tips.lost_seconds == 0

    try:
        await eventually(caught_up)
        sources = Sources(oracle.channel, oracle.channel, oracle.gateway_channel, tips)
        yield Readers(sources, OraclePrices(oracle.channel), requests)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def say(oracle: Oracle, low: int, high: int) -> None:
    """Ann proposes that a jump into a range be believed for an hour, Bob approves."""
    made = await oracle.stub.CreatePriceOverride(
        pb.CreatePriceOverrideRequest(
            request_id=f"propose-{low}",
            feed=BTC,
            low_price_usd_e8=low * USD,
            high_price_usd_e8=high * USD,
            expire_time=timestamp(oracle.gateway.market_time + dt.timedelta(hours=1)),
            reason="two exchanges are down, the market is not",
        ),
        metadata=ANN,
    )
    name = made.price_override.name
    approval = pb.ApprovePriceOverrideRequest(request_id=f"approve-{low}", name=name)
    await oracle.stub.ApprovePriceOverride(approval, metadata=BOB)


async def play(step: Step, oracle: Oracle, exchanges: Exchanges, readers: Readers) -> None:
    """One step, and what everybody gets after it."""
    exchanges.said = step.said
    if step.operators is not None:
        await say(oracle, *step.operators)
    await oracle.advance(60 * step.minutes)
    shown = await oracle.price()
    found = await oracle.stub.GetRound(pb.GetRoundRequest(feed=BTC, round=shown.round))
    outliers = [one.source for one in found.observations if one.rejection == "OUTLIER"]
    status = pb.PriceStatus.Name(shown.status).removeprefix("PRICE_STATUS_")
    seen = (status, shown.reason.partition(":")[0], shown.price_usd_e8, outliers)
    assert seen == (step.status, step.word, step.price * USD, list(step.outliers)), (step.what, shown.reason)
    assert bool(found.signed_round.signature) is (step.status == OK)
    usable = step.price * USD if step.status == OK else None
    got = [await readers.quote(), await readers.value(), await readers.receipt(oracle)]
    assert got == [usable] * 3, step.what
    for feed, number in await oracle.rows("SELECT feed, round FROM oracle.publication WHERE state = 'PENDING'"):
        await oracle.confirm(BTC if feed == BTC else STX, number)


def metric(name: str, **labels: str) -> float:
    """A counter or gauge of this process; 0 while it was never set."""
    return REGISTRY.get_sample_value(f"bithedge_oracle_{name}", {"feed": "BTC_USD", **labels}) or 0.0


COUNTED: Final = {
    "believed": ("jumps_total", {"outcome": "believed"}, 1),
    "overridden": ("jumps_total", {"outcome": "overridden"}, 1),
    "refused": ("jumps_total", {"outcome": "refused"}, 103),
    "first liar": ("rejections_total", {"source": "kraken", "rejection": "OUTLIER"}, 11),
    "honest minority": ("rejections_total", {"source": "okx", "rejection": "OUTLIER"}, 70),
    "approved": ("price_overrides_total", {"act": "approved"}, 2),
}


async def test_an_attack_on_the_price(database_url: str) -> None:
    """Every step ends as its line says; no quote, valuation, receipt or publication ever rests on a round that is not
    OK; an activation requested while there was no price is settled at the next OK one; each is counted."""
    gateway, exchanges = GatewayStandIn(START), Exchanges()
    server, address = await serve_gateway(gateway)
    before = {what: metric(name, **labels) for what, (name, labels, _) in COUNTED.items()}
    starts = [number for number, step in enumerate(ATTACK) if step.restart]
    requests: list[pb.CreateActivationReceiptRequest] = []
    for first, end in itertools.pairwise([0, *starts, len(ATTACK)]):
        async with running_oracle(database_url, gateway, address, exchanges) as oracle:
            await oracle.wait_for_round()
            async with readers(oracle, requests) as everyone:
                for step in ATTACK[first:end]:
                    await play(step, oracle, exchanges, everyone)
            late = [await receipt_price(oracle, request) for request in requests]
            rows = await oracle.rows(_USED)
            stored = await oracle.rows("SELECT count(*) FROM oracle.round WHERE feed = 1 AND status <> 'OK'")
    await server.stop(None)
    assert {row.status for row in rows} == {"OK"}
    assert {row.price_usd_e8 // USD for row in rows} == {8_000, 8_002, 5_602, 5_603, 4_001}
    assert {row.used_by for row in rows} == {"publication", "receipt"}
    expected = [next((s.price for s in ATTACK[n:] if s.status == OK), None) for n in range(len(ATTACK))]
    assert [price and price // USD for price in late] == expected
    assert stored[0][0] == 104
    counted = {what: metric(name, **labels) - before[what] for what, (name, labels, _) in COUNTED.items()}
    assert counted == {what: expected for what, (_, _, expected) in COUNTED.items()}
    assert metric("price_status", status="DEGRADED") == 1
    assert metric("breaker_tripped") == 0


_USED: Final = """
    SELECT 'publication' AS used_by, r.status, p.price_usd_e8 FROM oracle.publication p
    JOIN oracle.round r ON r.feed = p.feed AND r.round = p.round WHERE p.feed = 1
    UNION ALL
    SELECT 'receipt', r.status, c.btc_price_usd_e8 FROM oracle.receipt c
    JOIN oracle.round r ON r.feed = 1 AND r.round = ANY (c.btc_rounds)
"""
