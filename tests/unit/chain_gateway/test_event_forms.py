"""Prints of a form that was judged before are recognised; nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.chain_gateway import event_forms
from services.chain_gateway.contracts import ORACLE, REGISTRY, VAULT
from services.chain_gateway.convert_event import judge_topic, read_topic
from services.chain_gateway.event_forms import EventForms
from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    deserialize,
    serialize,
)

_HOLDER: Final = StandardPrincipal(Address(26, b"\7" * 20))
_ID: Final = Buffer(b"\1" * 16)
_AMOUNT: Final = UInt(5_000_000_000)


def _print(topic: str, **fields: ClarityValue) -> TupleValue:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return TupleValue({"topic": StringAscii(topic), **named})


_TOKEN: Final[Mapping[str, Any]] = {"token": UInt(1)}
_TERMS: Final = (
    "amount-sats strike-price-e8 floor-price-e8 btc-price-e8 stx-price-e8 premium fee quote-burn-height "
    "quote-expiry-burn-height expiration-burn-height id max-payout created-burn-height grace-blocks"
)
_CREATED: Final[Mapping[str, Any]] = {name.replace("-", "_"): UInt(900 + at) for at, name in enumerate(_TERMS.split())}
_OWNER: Final[Mapping[str, Any]] = {
    "policy_id": _ID,
    "holder": _HOLDER,
    "tier": UInt(2),
    "auto_settle": Bool(True),
}
_PAID: Final[Mapping[str, Any]] = {"provider": _HOLDER, "amount": _AMOUNT, "voucher_id": _ID}
_TREASURY: Final = ContractPrincipal(_HOLDER.address, "treasury")
_PRICE: Final[Mapping[str, Any]] = {"round": UInt(8), "price_e8": UInt(2**40), "confidence_e8": UInt(3)}
_OBSERVED: Final[Mapping[str, Any]] = {"burn_height": UInt(800_000), "observed_at": UInt(1_700_000_000)}
_PRINTS: Final = [
    (REGISTRY, _print("policy-created", **_TOKEN, **_CREATED, **_OWNER)),
    (REGISTRY, _print("policy-expired", **_TOKEN, id=UInt(4), policy_id=_ID, max_payout=_AMOUNT, btc_price_e8=_AMOUNT)),
    (REGISTRY, _print("policy-refused", id=UInt(4), error=UInt(1_200))),
    (VAULT, _print("deposit", **_TOKEN, provider=_HOLDER, amount=_AMOUNT, tier=UInt(3))),
    (VAULT, _print("withdrawal", **_TOKEN, **_PAID)),
    (VAULT, _print("withdrawal-delayed", **_TOKEN, **_PAID, ready_burn_height=UInt(9))),
    (VAULT, _print("voucher-vetoed", voucher_id=_ID)),
    (VAULT, _print("fees-withdrawn", **_TOKEN, recipient=_TREASURY, amount=_AMOUNT)),
    (VAULT, _print("paused", until=UInt(7), by=_HOLDER)),
    (ORACLE, _print("price-published", feed=StringAscii("BTC/USD"), **_PRICE, **_OBSERVED)),
]
_EDGES: Final = [
    0,
    1,
    2,
    3,
    4,
    *(2**bits + more for bits in (31, 32, 36, 37, 38, 63, 64) for more in (-1, 0)),
    2**128 - 1,
]
_NUMBERS: Final = st.sampled_from(_EDGES) | st.integers(0, 2**128 - 1)


def _another(value: ClarityValue) -> st.SearchStrategy[ClarityValue]:
    """Of the same kind, or the same."""
    kinds: dict[type[Any], st.SearchStrategy[ClarityValue]] = {
        UInt: _NUMBERS.map(UInt),
        Bool: st.booleans().map(Bool),
        Buffer: st.binary(min_size=15, max_size=17).map(Buffer),
        StringAscii: st.sampled_from(["STX/USD", "EUR/USD", "deposit", "paused"]).map(StringAscii),
        StandardPrincipal: st.binary(min_size=20, max_size=20).map(lambda hash_: StandardPrincipal(Address(22, hash_))),
    }
    return st.just(value) | kinds.get(type(value), st.just(value))


@st.composite
def _like_a_print(draw: st.DrawFn) -> tuple[str, bytes]:
    """A print with some values changed, or with any byte changed."""
    contract, printed = draw(st.sampled_from(_PRINTS))
    if draw(st.booleans()):
        some = draw(st.sets(st.sampled_from(sorted(printed.fields)), max_size=3))
        changed = {name: draw(_another(printed.fields[name])) for name in sorted(some)}
        return contract, serialize(TupleValue({**printed.fields, **changed}))
    value = bytearray(serialize(printed))
    value[draw(st.integers(0, len(value) - 1))] = draw(st.integers(0, 255))
    return contract, bytes(value)


def _outcome(judge: Any, contract: str, value: bytes) -> str:
    try:
        return f"topic {judge(contract, value)!r}"
    except ValueError as error:
        return type(error).__name__


@given(_like_a_print())
@example((ORACLE, serialize(_PRINTS[-1][1])))
def test_what_is_recognised_is_what_would_be_judged(case: tuple[str, bytes]) -> None:
    """After all good prints were judged, a print like them has the topic, or the error, that every byte of it gives."""
    for contract, printed in _PRINTS:
        assert read_topic(contract, serialize(printed)) == judge_topic(contract, serialize(printed)) != ""
    assert _outcome(read_topic, *case) == _outcome(judge_topic, *case)


@pytest.mark.parametrize(("contract", "printed"), _PRINTS)
def test_every_edge_of_every_number_is_judged(contract: str, printed: TupleValue) -> None:
    """A number at which a field ends to be good is never taken for one of the form that was judged."""
    judge_topic(contract, serialize(printed))
    for name in (name for name, one in printed.fields.items() if isinstance(one, UInt)):
        for number in _EDGES:
            value = serialize(TupleValue({**printed.fields, name: UInt(number)}))
            assert _outcome(read_topic, contract, value) == _outcome(judge_topic, contract, value), (name, number)


@pytest.mark.parametrize(("contract", "printed"), _PRINTS)
def test_a_print_that_differs_in_its_numbers_is_recognised(contract: str, printed: TupleValue) -> None:
    """Other amounts, prices, heights and addresses of the same magnitude need no second judgement."""
    forms, value = EventForms(), serialize(printed)
    topic = printed["topic"]
    assert isinstance(topic, StringAscii)
    forms.learn(contract, value, printed, topic.value)
    other = {name: UInt(one.value ^ 1) if isinstance(one, UInt) else one for name, one in printed.fields.items()}
    other |= {name: printed.fields[name] for name in ("token", "tier") if name in other}
    changed = serialize(TupleValue(other))
    assert forms.topic(contract, changed) == topic.value
    assert deserialize(changed) == TupleValue(other)
    assert forms.topic("another", changed) is None


def test_no_more_forms_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes prints of ever new forms costs no memory: those before are forgotten."""
    monkeypatch.setattr(event_forms, "_FORMS_REMEMBERED", 3)
    forms = EventForms()
    prints = [TupleValue({"topic": StringAscii("x" * length)}) for length in range(1, 5)]
    for printed in prints:
        forms.learn(VAULT, serialize(printed), printed, "x")
    assert [forms.topic(VAULT, serialize(printed)) for printed in prints] == [None, None, None, "x"]
