"""Reads a signing policy from the tables of a TOML document. What is not understood is an error, never ignored."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

from kernel.units import INT64_MAX
from services.chain_gateway.domain.signing_policy import FACTS, Bound, Rule, SigningRules, Value

_RULE_KEYS: Final = frozenset({"most", "most_per_day", "most_per_minute", "bounds"})
_VALUE_KEYS: Final = frozenset({"ustx", "sats"})
_BOUND_KEYS: Final = frozenset({"least", "most"})


class PolicyDocumentError(ValueError):
    """The document is no signing policy; the message names the place."""


def read_signing_rules(document: Mapping[str, Any]) -> SigningRules:
    """The rules; PolicyDocumentError for a name it does not know, a number that is missing, or one out of range."""
    _check_keys("the policy", document, FACTS.keys())
    return SigningRules({what: _rule(what, table) for what, table in document.items()})


def _rule(what: str, table: Any) -> Rule:
    _check_keys(what, table, _RULE_KEYS)
    most = _value(f"{what}: most", table.get("most", {}))
    per_day = _value(f"{what}: most_per_day", table.get("most_per_day", {}))
    if not most.within(per_day):
        raise PolicyDocumentError(f"{what}: most is above most_per_day")
    if "most_per_minute" not in table:
        raise PolicyDocumentError(f"{what}: most_per_minute is missing")
    rate = _integer(f"{what}: most_per_minute", table["most_per_minute"])
    bounds = table.get("bounds", {})
    _check_keys(f"{what}: bounds", bounds, set(FACTS[what]))
    return Rule(most, per_day, rate, {name: _bound(f"{what}: {name}", bound) for name, bound in bounds.items()})


def _value(place: str, table: Any) -> Value:
    _check_keys(place, table, _VALUE_KEYS)
    return Value(*(_integer(f"{place}.{name}", table.get(name, 0)) for name in ("ustx", "sats")))


def _bound(place: str, table: Any) -> Bound:
    _check_keys(place, table, _BOUND_KEYS)
    least = _integer(f"{place}.least", table.get("least", 0))
    most = _integer(f"{place}.most", table.get("most", INT64_MAX))
    if least > most:
        raise PolicyDocumentError(f"{place}: least is above most")
    return Bound(least, most)


def _integer(place: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise PolicyDocumentError(f"{place}: expected an integer from 0 to {INT64_MAX}")
    return value


def _check_keys(place: str, table: Any, known: Set[str]) -> None:
    if not isinstance(table, Mapping):
        raise PolicyDocumentError(f"{place}: expected a table")
    unknown = sorted(set(table) - known)
    if unknown:
        raise PolicyDocumentError(f"{place}: {unknown[0]!r} is unknown; known are {', '.join(sorted(known)) or 'none'}")
