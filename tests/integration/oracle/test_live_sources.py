"""Live sources through ccxt, against stand-ins that speak each exchange's REST and websocket."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from fractions import Fraction
from functools import partial

import pytest
import pytest_asyncio

from deploy.exchanges.faults import Fault
from deploy.exchanges.sources import sources_document
from services.oracle.domain.aggregation import AggregationRules, aggregate
from services.oracle.domain.prices import Feed, Observation, PriceStatus, Rejection
from services.oracle.feeds.live.configuration import ExchangeSources, Timing
from services.oracle.feeds.live.exchange import Exchange
from services.oracle.feeds.live.quote import ReadingFault
from tests.integration.oracle.exchanges import NAMES, Exchanges, counted, running_exchanges, soon
from tests.integration.oracle.harness import START

PAIRS = {name: "BTC/USDT" if name in ("binance", "okx") else "BTC/USD" for name in NAMES}
# What an exchange says wrongly, and the name under which it is rejected.
LIES = {
    Fault.NAN: Rejection.NOT_A_NUMBER,
    Fault.TEXT: Rejection.NOT_A_NUMBER,
    Fault.NEGATIVE: Rejection.NOT_POSITIVE,
    Fault.ZERO: Rejection.NOT_POSITIVE,
    Fault.HUGE: Rejection.OUT_OF_RANGE,
    Fault.CROSSED: Rejection.CROSSED_BOOK,
    Fault.ONE_SIDED: Rejection.MALFORMED,
    Fault.FUTURE: Rejection.FUTURE,
    Fault.ANCIENT: Rejection.STALE,
    Fault.GARBAGE: Rejection.MALFORMED,
    Fault.NESTED: Rejection.MALFORMED,
}
# How an exchange fails to answer, and the name once its last reading is too old.
FAILURES = {
    Fault.CUT_OFF: Rejection.UNREACHABLE,
    Fault.SLOW: Rejection.TIMED_OUT,
    Fault.RATE_LIMITED: Rejection.RATE_LIMITED,
}


@pytest_asyncio.fixture(scope="module")
async def exchanges() -> AsyncIterator[Exchanges]:
    """Five exchanges for the whole file, which every test leaves as it found them."""
    async with running_exchanges() as found:
        yield found


@pytest_asyncio.fixture(autouse=True)
async def all_well(exchanges: Exchanges) -> None:
    """Everybody has a price of this moment before a test begins."""
    exchanges.server.faults.clear()
    await exchanges.all_fresh()


def price(found: dict[str, Observation], exchanges: Exchanges) -> int:
    """The aggregate's price, which is OK."""
    made = aggregate(list(found.values()), exchanges.now, AggregationRules())
    assert made.status is PriceStatus.OK
    return made.price_usd_e8


@pytest.mark.parametrize("feed", Feed)
async def test_five_exchanges_say_what_was_recorded(exchanges: Exchanges, feed: Feed) -> None:
    """Each of the five, converted where it quotes USDT, is within its noise and spread of the recorded price; they are
    labelled as simulated, and STX as synthetic."""
    recorded = exchanges.server.market.price_usd(feed.symbol.split("/")[0])
    assert recorded is not None
    found = await exchanges.observe(feed)
    assert tuple(found) == NAMES
    for one in found.values():
        assert abs(Fraction(one.price_usd_e8, 10**8) / recorded - 1) < Fraction(5, 10_000)
        assert one.simulated
        assert one.converted_by == ("USDT/USD" if PAIRS[one.source].endswith("USDT") else "")
    assert len({one.price_usd_e8 for one in found.values()}) > 1
    assert price(found, exchanges) > 0
    assert exchanges.source.is_synthetic(feed) == (feed is Feed.STX_USD)


@pytest.mark.parametrize("name", NAMES)
async def test_a_lie_is_rejected_by_name_and_nothing_else_changes(exchanges: Exchanges, name: str) -> None:
    """NaN, text, negative, zero, huge, crossed, one-sided, future, ancient, garbage, endless nesting, one after the
    other: each has its name, is counted, and while it lasts all other observations, of both feeds, are what they were;
    afterwards it is believed."""
    before, stx = await exchanges.observe(), await exchanges.observe(Feed.STX_USD)
    without = {one: seen for one, seen in before.items() if one != name}
    for fault, rejection in LIES.items():
        if fault in (Fault.FUTURE, Fault.ANCIENT) and name == "kraken":
            continue  # Its messages carry no time.
        faults = _faults(name, rejection)
        await exchanges.fault(name, fault, PAIRS[name])
        refused = await exchanges.rejected(name, rejection)
        found = await exchanges.observe()
        assert refused.price_usd_e8 == 0
        assert {one: seen for one, seen in found.items() if one != name} == without, fault
        assert price(found, exchanges) == price(without, exchanges)
        assert await exchanges.observe(Feed.STX_USD) == stx, fault
        assert _faults(name, rejection) > faults
        await exchanges.fault(name, None, PAIRS[name])
        await exchanges.rejected(name, None)
    assert await exchanges.observe() == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_failure_is_rejected_by_name_and_nothing_else_changes(exchanges: Exchanges, name: str) -> None:
    """Cut off, slow, rate-limited: what was read counts until it is 60 s old, then the failure has its name and is
    counted; the others are read as ever, and the exchange comes back by itself."""
    for fault, rejection in FAILURES.items():
        before, faults = await exchanges.all_fresh(), _faults(name, rejection)
        await exchanges.fault(name, fault)
        await soon(partial(_more_faults, name, rejection, faults))
        assert (await exchanges.observe())[name] == before[name]
        await exchanges.advance(61)
        await exchanges.rejected(name, rejection)
        found = await exchanges.all_fresh(but=(name, *_converted_by(name)))
        assert found[name].price_usd_e8 == 0
        without = {one: seen for one, seen in found.items() if one != name}
        assert price(found, exchanges) == price(without, exchanges)
        await exchanges.fault(name, None)


def _faults(name: str, rejection: Rejection) -> float:
    pairs = [PAIRS[name], PAIRS[name].replace("BTC", "STX"), "USDT/USD"]
    return sum(
        counted("reading_faults_total", source=name, pair=pair, transport=transport, fault=str(rejection))
        for pair in pairs
        for transport in ("rest", "websocket")
    )


async def _more_faults(name: str, rejection: Rejection, before: float) -> bool:
    return _faults(name, rejection) > before


def _converted_by(name: str) -> tuple[str, ...]:
    """Whose observations are as old as this exchange's last rate of USDT."""
    return () if name in ("binance", "okx") else ("binance", "okx")


async def test_without_its_websocket_an_exchange_is_polled_until_it_is_back(exchanges: Exchanges) -> None:
    """The websocket cut off: REST goes on with the price; the websocket again: it takes over."""
    for name in NAMES:
        labels = {"source": name, "pair": PAIRS[name]}
        await exchanges.fault(name, Fault.CUT_OFF, transport="websocket")
        await soon(partial(_websocket_up, name, 0))
        polled = counted("readings_total", transport="rest", **labels)
        await exchanges.advance(1)
        await exchanges.all_fresh()
        assert counted("readings_total", transport="rest", **labels) > polled
        streamed = counted("readings_total", transport="websocket", **labels)
        await exchanges.fault(name, None, transport="websocket")
        await soon(partial(_websocket_up, name, 1))
        assert counted("readings_total", transport="websocket", **labels) > streamed


async def _websocket_up(name: str, value: int) -> bool:
    return counted("websocket_up", source=name) == value


async def test_a_silent_websocket_is_replaced_by_rest_and_opened_anew(exchanges: Exchanges) -> None:
    """A websocket that stands but says nothing: prices go on by REST, and after a while it is given up."""
    await exchanges.fault("okx", Fault.SILENT)
    await exchanges.advance(1)
    await exchanges.all_fresh()
    await soon(lambda: _websocket_up("okx", 0))
    faults = counted("reading_faults_total", source="okx", pair="BTC/USDT", transport="websocket", fault="TIMED_OUT")
    assert faults >= 1


async def test_a_depeg_of_usdt_is_converted_and_not_assumed_away(exchanges: Exchanges) -> None:
    """USDT at 0.95: pairs in USDT stand 5% higher there, and say the same in USD as before."""
    market, before = exchanges.server.market, await exchanges.observe()
    market.prices_usd["USDT"] = Fraction(95, 100)
    try:
        await exchanges.advance(1)
        after = await exchanges.all_fresh()
        shown = market.book("binance", "BTC/USDT")
        assert shown is not None
        assert Fraction(str(shown.bid)) > Fraction(104, 100) * Fraction(after["binance"].price_usd_e8, 10**8)
        for name in ("binance", "okx"):
            assert abs(Fraction(after[name].price_usd_e8, before["kraken"].price_usd_e8) - 1) < Fraction(1, 1000)
    finally:
        del market.prices_usd["USDT"]
        await exchanges.advance(1)


async def test_without_a_rate_nothing_is_converted(exchanges: Exchanges) -> None:
    """One of three sources of USDT/USD left: pairs in USDT are NO_CONVERSION, those in USD make the price; with two
    that contradict each other it is the same."""
    for name in ("kraken", "coinbase"):
        await exchanges.fault(name, Fault.CROSSED, "USDT/USD")
    for name in ("binance", "okx"):
        await exchanges.rejected(name, Rejection.NO_CONVERSION)
    found = await exchanges.observe()
    usd = {name: found[name] for name in ("kraken", "coinbase", "bitstamp")}
    assert all(one.fault is None for one in usd.values())
    assert price(found, exchanges) == price(usd, exchanges)
    await exchanges.fault("coinbase", None, "USDT/USD")
    exchanges.server.market.offsets_bps["coinbase"] = 300
    await exchanges.advance(1)
    await soon(lambda: _off_by_three_percent(exchanges))
    await exchanges.rejected("okx", Rejection.NO_CONVERSION)
    exchanges.server.market.offsets_bps.clear()
    await exchanges.advance(1)


async def _off_by_three_percent(exchanges: Exchanges) -> bool:
    found = await exchanges.observe()
    return found["coinbase"].price_usd_e8 * 100 > found["kraken"].price_usd_e8 * 102


async def test_daily_bars_are_those_of_the_exchanges(exchanges: Exchanges) -> None:
    """The bars of every recorded day before this one, exact, though one exchange writes them as bare numbers."""

    async def there() -> bool:
        return all(len(exchanges.source.daily_bars(feed)) == 71 for feed in Feed)

    await soon(there)
    recorded = exchanges.server.market.bars("BTC/USD", 300)
    assert recorded[-1].day == START.date()
    assert list(exchanges.source.daily_bars(Feed.BTC_USD)) == list(recorded[:-1])


async def test_an_exchange_that_limits_us_says_for_how_long(exchanges: Exchanges) -> None:
    """The `Retry-After` of a 429 reaches whoever plans the next attempt; a pair that is not listed has its name."""
    address = exchanges.server.address
    sources = ExchangeSources("coinbase", {Feed.BTC_USD: "BTC/USD"}, {}, rest_url=f"http://{address}/coinbase")
    exchange = Exchange(sources, Timing())
    try:
        await exchange.list_markets()
        await exchanges.fault("coinbase", Fault.RATE_LIMITED, transport="rest")
        with pytest.raises(ReadingFault) as limited:
            await exchange.fetch("BTC/USD")
        await exchanges.fault("coinbase", None, transport="rest")
        with pytest.raises(ReadingFault) as unknown:
            await exchange.fetch("BTC/EUR")
    finally:
        await exchange.close()
    assert (limited.value.rejection, limited.value.retry_after_seconds) == (Rejection.RATE_LIMITED, 1.0)
    assert unknown.value.rejection is Rejection.NOT_LISTED


async def test_an_exchange_that_is_down_at_the_start_is_followed_once_it_is_there(exchanges: Exchanges) -> None:
    """Everything unreachable at first: every source is named so; then every one has a price."""
    async with running_exchanges() as late:
        for name in NAMES:
            await late.fault(name, Fault.CUT_OFF)
        found = await asyncio.gather(*(late.rejected(name, Rejection.UNREACHABLE) for name in NAMES))
        assert [dataclasses.astuple(one)[1] for one in found] == [0] * 5
        late.server.faults.clear()
        await late.all_fresh()
    assert "simulated = true" in sources_document("127.0.0.1:1", {})
