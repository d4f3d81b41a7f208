"""The file that names live sources: the built-in one is whole, and what is not understood stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.settings import SettingsError
from services.oracle.domain.prices import Feed
from services.oracle.feeds.live.configuration import load_sources

GOOD = """
[exchange.kraken]
BTC_USD = "BTC/USD"
STX_USD = "STX/USD"
USDT_USD = "USDT/USD"
[exchange.coinbase]
USDT_USD = "USDT/USD"
"""


def test_the_built_in_sources_are_five_for_each_feed() -> None:
    """Kraken, Coinbase, Bitstamp, Binance and OKX for both feeds, USDT in USD from three of them, real exchanges."""
    sources = load_sources("")
    assert [one.name for one in sources.exchanges] == ["kraken", "coinbase", "bitstamp", "binance", "okx"]
    assert all(set(one.pairs) == set(Feed) and not one.rest_url for one in sources.exchanges)
    assert sum("USDT" in one.rates for one in sources.exchanges) == 3
    assert (sources.simulated, sources.synthetic) == (False, frozenset())


def test_a_file_says_what_differs(tmp_path: Path) -> None:
    """Timing, rules, addresses and labels come from the file; what it leaves out is as documented."""
    path = tmp_path / "sources.toml"
    extra = '[exchange.okx]\nBTC_USD = "BTC/USDT"\nwebsocket = false\nrest_url = "http://127.0.0.1:1"\n'
    head = 'simulated = true\nsynthetic = ["STX_USD"]\n[timing]\npoll_seconds = 0.5\n[rates]\nband_bps = 50\n'
    path.write_text(head + GOOD + extra)
    sources = load_sources(str(path))
    okx = sources.exchanges[2]
    assert (okx.pairs, okx.websocket, okx.rest_url) == ({Feed.BTC_USD: "BTC/USDT"}, False, "http://127.0.0.1:1")
    assert (sources.timing.poll_seconds, sources.timing.silent_seconds) == (0.5, 10.0)
    assert (sources.rates.minimum_sources, sources.rates.band_bps) == (2, 50)
    assert (sources.simulated, sources.synthetic) == (True, frozenset({Feed.STX_USD}))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[exchange.nowhere]\n", "exchange: 'nowhere' is unknown; known are binance"),
        ("[excange.kraken]\n", "the document: 'excange' is unknown"),
        ("exchange = 3\n", "exchange: expected a table"),
        (GOOD + "[timing]\npoll = 3\n", "timing: 'poll' is unknown"),
        (GOOD + "[timing]\npoll_seconds = 0\n", "timing.poll_seconds: expected a number above 0"),
        (GOOD + '[timing]\npoll_seconds = "3"\n', "timing.poll_seconds: expected a number"),
        (GOOD + "[rates]\nminimum_sources = 1.5\n", "rates.minimum_sources: expected a number"),
        (GOOD + "[rates]\nminimum_sources = true\n", "rates.minimum_sources: expected a number"),
        ('simulated = "no"\n' + GOOD, "simulated: expected true or false"),
        ('synthetic = ["ETH_USD"]\n' + GOOD, "synthetic: 'ETH_USD' is no feed"),
        (GOOD + 'websocket = "yes"\n', "exchange.coinbase.websocket: 'yes' is of the wrong kind"),
        (GOOD + 'BTC_USD = "BTCUSD"\n', "exchange.coinbase.BTC_USD: expected a pair such as 'BTC/USD'"),
        (GOOD + 'BTC_USD = "ETH/USD"\n', "exchange.coinbase.BTC_USD: 'ETH/USD' is neither"),
        (GOOD + 'USDC_USD = "USDC/EUR"\n', "exchange.coinbase.USDC_USD: 'USDC/EUR' is neither"),
        (GOOD + 'BTC_USD = "BTC/USDC"\n', "exchange.coinbase: BTC/USDC: 2 exchanges must be asked for USDC_USD, 0 are"),
        ('[exchange.kraken]\nBTC_USD = "BTC/USD"\n', "exchange: none is asked for STX_USD"),
        ("[", "LIVE_SOURCES_FILE: "),
    ],
)
def test_what_is_not_understood_stops_the_start(tmp_path: Path, text: str, named: str) -> None:
    """Unknown names, wrong kinds, pairs that are not the feed's, currencies without enough rates, feeds without a
    source: one line that names the place."""
    path = tmp_path / "sources.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_sources(str(path))
    assert str(refused.value).startswith("LIVE_SOURCES_FILE: ")
    assert named in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that cannot be read is one line too."""
    with pytest.raises(SettingsError, match=r"LIVE_SOURCES_FILE: .*nowhere"):
        load_sources(str(tmp_path / "nowhere.toml"))
