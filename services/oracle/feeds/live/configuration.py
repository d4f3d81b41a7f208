"""Which exchanges are asked for what: a TOML document into a value. What is not understood is an error, never ignored.

The built-in document, `live_sources.toml`, explains each entry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from kernel.settings import SettingsError
from services.oracle.domain.prices import Feed
from services.oracle.feeds.live.dialects import DIALECTS

_BUILT_IN: Final = Path(__file__).with_name("live_sources.toml")
_RATE_SUFFIX: Final = "_USD"
_DOCUMENT_KEYS: Final = frozenset({"timing", "rates", "exchange", "simulated", "synthetic"})
_EXCHANGE_KEYS: Final = frozenset({"websocket", "rest_url", "websocket_url"})


@dataclass(frozen=True)
class Timing:
    """Seconds of wall time; `future_seconds` compares times of exchanges with market time."""

    poll_seconds: float = 5.0
    silent_seconds: float = 10.0
    reconnect_seconds: float = 60.0
    timeout_seconds: float = 5.0
    longest_backoff_seconds: float = 60.0
    future_seconds: float = 5.0


@dataclass(frozen=True)
class RateRules:
    """How a rate such as USDT/USD is made; its age limit is that of prices."""

    minimum_sources: int = 2
    band_bps: int = 100


@dataclass(frozen=True)
class ExchangeSources:
    """What one exchange is asked for: a pair of each feed, and rates in USD of currencies that pairs are quoted in."""

    name: str
    pairs: Mapping[Feed, str]
    rates: Mapping[str, str]
    websocket: bool = True
    rest_url: str = ""
    websocket_url: str = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every pair that is read."""
        return (*self.pairs.values(), *self.rates.values())


@dataclass(frozen=True)
class LiveSources:
    """All of it. `simulated`: the exchanges are stand-ins; `synthetic`: feeds whose prices there were invented."""

    exchanges: tuple[ExchangeSources, ...]
    timing: Timing = Timing()
    rates: RateRules = RateRules()
    simulated: bool = False
    synthetic: frozenset[Feed] = frozenset()


class _Malformed(ValueError):
    """The document says something that it cannot mean; the message names the place."""


def load_sources(path: str) -> LiveSources:
    """The sources of a file, the built-in ones if `path` is empty; SettingsError says what is wrong where."""
    try:
        return read_sources(tomllib.loads(Path(path or _BUILT_IN).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, _Malformed) as error:
        raise SettingsError(f"LIVE_SOURCES_FILE: {error}") from None


def read_sources(document: Mapping[str, Any]) -> LiveSources:
    """The sources of a document."""
    _check_keys("the document", document, _DOCUMENT_KEYS)
    tables = _table("exchange", document.get("exchange", {}))
    _check_keys("exchange", tables, DIALECTS.keys())
    exchanges = tuple(_exchange(name, _table(f"exchange.{name}", table)) for name, table in tables.items())
    rates = RateRules(**_numbers("rates", document.get("rates", {}), RateRules, int))
    simulated = document.get("simulated", False)
    if not isinstance(simulated, bool):
        raise _Malformed("simulated: expected true or false")
    synthetic = frozenset(_feed("synthetic", name) for name in document.get("synthetic", ()))
    timing = Timing(**_numbers("timing", document.get("timing", {}), Timing, float))
    _check_coverage(exchanges, rates)
    return LiveSources(exchanges, timing, rates, simulated, synthetic)


def _exchange(name: str, table: Mapping[str, Any]) -> ExchangeSources:
    place, pairs, rates = f"exchange.{name}", {}, {}
    for key, value in table.items():
        if key in _EXCHANGE_KEYS:
            if not isinstance(value, bool if key == "websocket" else str):
                raise _Malformed(f"{place}.{key}: {value!r} is of the wrong kind")
            continue
        symbol = _symbol(f"{place}.{key}", value)
        base, quote = symbol.split("/")
        if key in Feed.__members__ and key == f"{base}{_RATE_SUFFIX}":
            pairs[Feed[key]] = symbol
        elif key == f"{base}{_RATE_SUFFIX}" and quote == "USD":
            rates[base] = symbol
        else:
            raise _Malformed(f"{place}.{key}: {symbol!r} is neither that feed nor that rate in USD")
    options = {key: table[key] for key in _EXCHANGE_KEYS if key in table}
    return ExchangeSources(name, pairs, rates, **options)


def _check_coverage(exchanges: tuple[ExchangeSources, ...], rules: RateRules) -> None:
    for feed in Feed:
        if not any(feed in one.pairs for one in exchanges):
            raise _Malformed(f"exchange: none is asked for {feed.name}")
    for one in exchanges:
        for symbol in one.pairs.values():
            quote = symbol.split("/")[1]
            sources = sum(quote in other.rates for other in exchanges)
            if quote != "USD" and sources < rules.minimum_sources:
                needed = f"{rules.minimum_sources} exchanges must be asked for {quote}{_RATE_SUFFIX}"
                raise _Malformed(f"exchange.{one.name}: {symbol}: {needed}, {sources} are")


def _symbol(place: str, value: Any) -> str:
    if not isinstance(value, str) or value.count("/") != 1 or not all(value.split("/")) or value != value.upper():
        raise _Malformed(f"{place}: expected a pair such as 'BTC/USD'")
    return value


def _feed(place: str, name: Any) -> Feed:
    if name not in Feed.__members__:
        raise _Malformed(f"{place}: {name!r} is no feed; known are {', '.join(Feed.__members__)}")
    return Feed[name]


def _numbers(place: str, value: Any, kind: type[Any], number: type[int] | type[float]) -> dict[str, Any]:
    table = _table(place, value)
    _check_keys(place, table, {field.name for field in fields(kind)})
    for name, given in table.items():
        accepted = isinstance(given, int | number) and not isinstance(given, bool)
        if not accepted or not 0 < given <= 86_400:
            raise _Malformed(f"{place}.{name}: expected a number above 0 and up to 86400")
    return dict(table)


def _table(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Malformed(f"{place}: expected a table")
    return value


def _check_keys(place: str, table: Mapping[str, Any], known: Set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise _Malformed(f"{place}: {unknown[0]!r} is unknown; known are {', '.join(sorted(known))}")
