"""The signing policy: what is refused, in which order, and that no document is half understood."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.domain.signing_policy import (
    EXPIRE,
    FACTS,
    FILLER,
    PUBLISH,
    QUOTE,
    SETTLE,
    SPONSORED,
    VOUCHER,
    Bound,
    Request,
    Rule,
    SigningRules,
    Used,
    Value,
    judge,
)
from services.chain_gateway.domain.signing_policy_document import PolicyDocumentError, read_signing_rules
from services.chain_gateway.signing_authority import load_rules

_amounts = st.integers(0, 10**6)
_values = st.builds(Value, _amounts, _amounts)
_RULE = Rule(Value(100, 10), Value(300, 30), 5, {"ids": Bound(1, 200)})
_RULES = SigningRules({EXPIRE: _RULE})
_REQUEST = Request(EXPIRE, "intents/1", b"", Value(100, 10), {"ids": 200})


def _reason(request: Request, used: Used = Used()) -> str | None:  # noqa: B008
    refusal = judge(_RULES, request, used)
    return refusal.reason if refusal else None


def test_what_fits_is_signed() -> None:
    """At every limit exactly, it is allowed."""
    assert _reason(_REQUEST, Used(Value(200, 20), 4)) is None


@pytest.mark.parametrize(
    ("changes", "used", "reason"),
    [
        ({"what": SETTLE}, Used(), "CALL_NOT_ALLOWED"),
        ({"what": "liquidity-pool-vault.withdraw-fees"}, Used(), "CALL_NOT_ALLOWED"),
        ({"facts": {"ids": 201}}, Used(), "ARGUMENT_OUT_OF_BOUNDS"),
        ({"facts": {"ids": 0}}, Used(), "ARGUMENT_OUT_OF_BOUNDS"),
        ({"value": Value(101, 0)}, Used(), "VALUE_TOO_LARGE"),
        ({"value": Value(0, 11)}, Used(), "VALUE_TOO_LARGE"),
        ({}, Used(Value(201, 0)), "DAY_VALUE_USED_UP"),
        ({}, Used(Value(0, 21)), "DAY_VALUE_USED_UP"),
        ({}, Used(Value(), 5), "RATE_USED_UP"),
    ],
)
def test_one_step_beyond_a_limit_is_refused(changes: dict[str, Any], used: Used, reason: str) -> None:
    """One unit above each limit has that limit's own reason; only a day's value and a rate pass with time."""
    refusal = judge(_RULES, replace(_REQUEST, **changes), used)
    assert refusal is not None
    assert refusal.reason == reason
    assert refusal.passes == (reason in ("DAY_VALUE_USED_UP", "RATE_USED_UP"))


def test_what_never_passes_is_said_first() -> None:
    """A request that can never be signed is not told to come back, however much of the day is used."""
    assert _reason(replace(_REQUEST, facts={"ids": 201}), Used(Value(300, 30), 5)) == "ARGUMENT_OUT_OF_BOUNDS"


@given(st.lists(_values, max_size=30), _values, _values, st.integers(0, 40))
def test_no_order_of_requests_goes_beyond_a_day(amounts: list[Value], most: Value, more: Value, rate: int) -> None:
    """Proves that whatever is asked for, what is allowed in a day and a minute stays within the rule."""
    rules = SigningRules({QUOTE: Rule(most, most + more, rate)})
    used = Used()
    for number, value in enumerate(amounts):
        if judge(rules, Request(QUOTE, str(number), b"", value), used) is None:
            assert value.within(most)
            used = Used(used.today + value, used.last_minute + 1)
    assert used.today.within(most + more)
    assert used.last_minute <= rate


@given(_values, _values, st.integers(0, 10))
def test_a_smaller_request_is_allowed_where_a_larger_one_is(used: Value, value: Value, count: int) -> None:
    """Proves that the rules are monotonic: less value under less use is never refused where more was allowed."""
    rules = SigningRules({QUOTE: Rule(Value(10**5, 10**5), Value(10**6, 10**6), 5)})
    if judge(rules, Request(QUOTE, "a", b"", value), Used(used, count)) is None:
        smaller = Value(value.ustx // 2, value.sats // 2)
        assert judge(rules, Request(QUOTE, "a", b"", smaller), Used(Value(used.ustx // 2, used.sats), 0)) is None


def test_the_built_in_policy_covers_everything_that_is_signed() -> None:
    """The file that is used without a setting is valid and has a rule for each thing, each with a rate."""
    rules = load_rules("").rules
    assert set(rules) == set(FACTS) == {PUBLISH, SETTLE, EXPIRE, QUOTE, VOUCHER, FILLER, SPONSORED}
    assert all(rule.most_per_minute > 0 for rule in rules.values())
    assert rules[PUBLISH].most == Value()
    assert rules[FILLER].most == Value(ustx=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vouchers]\nmost_per_minute = 1", "the policy: 'vouchers' is unknown; known are"),
        ("voucher = 1", "voucher: expected a table"),
        ("[voucher]", "voucher: most_per_minute is missing"),
        ("[voucher]\nmost_per_minute = 1.5", "voucher: most_per_minute: expected an integer"),
        ("[voucher]\nmost_per_minute = true", "voucher: most_per_minute: expected an integer"),
        ("[voucher]\nmost_per_minute = -1", "voucher: most_per_minute: expected an integer"),
        ("[voucher]\nmost_per_minute = 9223372036854775808", "voucher: most_per_minute: expected an integer"),
        ("[voucher]\nmost_per_minute = 1\nmost = { stx = 1 }", "voucher: most: 'stx' is unknown; known are sats, ustx"),
        ("[voucher]\nmost_per_minute = 1\nmost = { ustx = 2 }", "voucher: most is above most_per_day"),
        ("[voucher]\nmost_per_minute = 1\nmost = 5", "voucher: most: expected a table"),
        ("[voucher]\nmost_per_minute = 1\nbounds.ids.most = 1", "voucher: bounds: 'ids' is unknown; known are valid_"),
        ("[voucher]\nmost_per_minute = 1\nbounds.valid_blocks.max = 1", "voucher: valid_blocks: 'max' is unknown"),
        (
            "[voucher]\nmost_per_minute = 1\nbounds.valid_blocks = { least = 2, most = 1 }",
            "voucher: valid_blocks: least is above most",
        ),
    ],
)
def test_a_document_that_is_not_understood_is_refused(text: str, message: str) -> None:
    """A wrong name, type or number ends the start with its place; nothing is ignored, so no limit is lost by a typo."""
    with pytest.raises(PolicyDocumentError) as caught:
        read_signing_rules(tomllib.loads(text))
    assert str(caught.value).startswith(message)


_documents = st.recursive(
    st.one_of(st.integers(-5, 10**20), st.booleans(), st.text(max_size=5), st.floats()),
    lambda inner: st.dictionaries(
        st.sampled_from(["quote", "voucher", "most", "bounds", "most_per_minute", "ustx", "least", "x"]), inner
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([QUOTE, VOUCHER, "x"]), _documents))
def test_any_document_is_a_policy_or_one_error(document: dict[str, Any]) -> None:
    """Proves that reading ends in rules or in PolicyDocumentError, whatever the document holds."""
    try:
        rules = read_signing_rules(document)
    except PolicyDocumentError:
        return
    assert all(rule.most.within(rule.most_per_day) for rule in rules.rules.values())
