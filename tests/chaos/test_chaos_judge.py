"""The judge of the chaos play: it passes what is right and names whatever is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.chain_gateway.stacks.clarity import StringAscii, TupleValue, UInt, serialize
from tests.chaos.gateway.chain import ChainReading, EventRow, MinedTransaction
from tests.chaos.gateway.judge import Streams, Verdict, judge
from tests.chaos.gateway.ledger import Answered, BookEntry, GatewayReading
from tests.chaos.gateway.orders import Order

ALICE: Final = "ST_ALICE"
BOB: Final = "ST_BOB"
PUBLISH: Final = "oracle.publish-price"
SETTLE: Final = "policy-registry.settle-policy"
STAGE_HEIGHT: Final = 10


@dataclass(frozen=True)
class Case:
    """All that the judge sees."""

    orders: tuple[Order, ...]
    chain: ChainReading
    gateway: GatewayReading
    streams: Streams

    def judged(self) -> Verdict:
        """The verdict."""
        return judge(self.orders, self.chain, self.gateway, self.streams, STAGE_HEIGHT)

    def on_chain(self, **changes: Any) -> Case:
        """The same with another chain."""
        return replace(self, chain=replace(self.chain, **changes))

    def by_gateway(self, **changes: Any) -> Case:
        """The same with other answers of the gateway."""
        return replace(self, gateway=replace(self.gateway, **changes))


def _mined(name: str, sender: str, nonce: int, arguments: str, **changes: Any) -> MinedTransaction:
    mined = MinedTransaction(name, sender, nonce, "success", PUBLISH, (arguments,), STAGE_HEIGHT + 1 + nonce)
    return replace(mined, **changes)


def _event(txid: str, contract: str, topic: str, number: int) -> EventRow:
    value = serialize(TupleValue({"topic": StringAscii(topic), "id": UInt(number)})).hex()
    return EventRow(f"block of {txid}", txid, 0, contract, value)


def _case() -> Case:
    """Three intents by two keys; before them one transaction of the stage."""
    orders = (
        Order("one", pb.ContractCall(), PUBLISH, ("01",)),
        Order("two", pb.ContractCall(), PUBLISH, ("02",)),
        Order("three", pb.ContractCall(), SETTLE, ("03",), (7,)),
    )
    stage = MinedTransaction("t0", ALICE, 0, "success", PUBLISH, ("00",), STAGE_HEIGHT)
    transactions = (
        stage,
        _mined("t1", ALICE, 1, "01"),
        _mined("t2", ALICE, 2, "02"),
        _mined("t3", BOB, 0, "03", function=SETTLE),
    )
    events = (
        _event("t0", "oracle", "price-published", 0),
        _event("t1", "oracle", "price-published", 0),
        _event("t2", "oracle", "price-published", 0),
        _event("t3", "policy-registry", "policy-settled", 7),
    )
    places = tuple((row.block_hash, row.txid, row.event_index) for row in events)
    book = {one.txid: BookEntry(one.sender, one.nonce, "CONFIRMED") for one in transactions[1:]}
    answers = {
        order.key: Answered("CONFIRMED", "", (one.txid,)) for order, one in zip(orders, transactions[1:], strict=True)
    }
    return Case(
        orders,
        ChainReading(transactions, events, {ALICE: (), BOB: ()}),
        GatewayReading(answers, book, {ALICE: (1, 2), BOB: (0,)}, events),
        Streams(places, places, places),
    )


def _with_transaction(case: Case, one: MinedTransaction, state: str = "CONFIRMED") -> Case:
    """One more transaction, known to the gateway."""
    book = {**case.gateway.transactions, one.txid: BookEntry(one.sender, one.nonce, state)}
    return case.on_chain(transactions=(*case.chain.transactions, one)).by_gateway(transactions=book)


def _without_transaction(case: Case, txid: str) -> Case:
    return case.on_chain(transactions=tuple(one for one in case.chain.transactions if one.txid != txid))


def test_what_is_right_passes() -> None:
    """Each intent once, nonces without gap, all tables alike: no difference."""
    verdict = _case().judged()
    assert verdict.holds
    assert (verdict.intents, verdict.effects, verdict.gaps, verdict.wasted, verdict.fillers) == (3, 3, 0, 0, 0)


def test_a_doubled_effect_is_found() -> None:
    """The same call twice with success, at whatever nonce, fails the play."""
    verdict = _with_transaction(_case(), _mined("t4", BOB, 1, "01")).judged()
    assert not verdict.holds
    assert verdict.effects == 4
    assert any("one (oracle.publish-price) has 2 effects" in line for line in verdict.differences)


def test_a_doubled_effect_does_not_make_up_for_a_missing_one() -> None:
    """As many effects as intents is not enough: each must have its own."""
    verdict = _with_transaction(_without_transaction(_case(), "t2"), _mined("t4", ALICE, 2, "01")).judged()
    assert verdict.effects == verdict.intents
    assert not verdict.holds


def test_an_aborted_duplicate_is_told() -> None:
    """A second transaction that the contract refused has cost a fee: it is counted, though it did nothing."""
    verdict = _with_transaction(_case(), _mined("t4", BOB, 1, "01", status="abort_by_response"), "ABORTED").judged()
    assert verdict.holds
    assert verdict.wasted == 1


def test_a_filled_nonce_is_told() -> None:
    """A transfer that only uses a nonce is no effect and no difference."""
    verdict = _with_transaction(_case(), _mined("t4", BOB, 1, "", function="token_transfer")).judged()
    assert verdict.holds
    assert verdict.fillers == 1


@pytest.mark.parametrize(
    ("tamper", "gaps"),
    [
        (lambda case: _without_transaction(case, "t1"), 1),
        (lambda case: case.on_chain(waiting={ALICE: (4,), BOB: ()}), 2),
        (lambda case: case.by_gateway(nonces={ALICE: (1, 2), BOB: (0, 2)}), 2),
    ],
    ids=["unused on chain", "below a waiting one", "below one that was given"],
)
def test_gaps_are_found(tamper: Callable[[Case], Case], gaps: int) -> None:
    """A nonce that the chain never saw, below one that it saw, that waits, or that the gateway has given."""
    verdict = tamper(_case()).judged()
    assert verdict.gaps == gaps
    assert not verdict.holds


def _answer(case: Case, answered: Answered) -> Case:
    return case.by_gateway(intents={**case.gateway.intents, "one": answered})


def _event_gone(case: Case) -> Case:
    return case.by_gateway(events=case.gateway.events[:-1])


def _event_invented(case: Case) -> Case:
    return case.by_gateway(events=(*case.gateway.events, _event("t9", "oracle", "price-published", 0)))


def _event_altered(case: Case) -> Case:
    return case.by_gateway(events=(*case.gateway.events[:-1], replace(case.gateway.events[-1], value="00")))


def _events_swapped(case: Case) -> Case:
    first, second, *others = case.gateway.events
    return case.by_gateway(events=(second, first, *others))


def _book(case: Case, txid: str, **changes: Any) -> Case:
    entry = replace(case.gateway.transactions[txid], **changes)
    return case.by_gateway(transactions={**case.gateway.transactions, txid: entry})


def _streamed(case: Case, name: str) -> Case:
    shorter = case.streams.tip[1:]
    return replace(case, streams=replace(case.streams, **{name: shorter}))


def _policy_ended_twice(case: Case) -> Case:
    return case.on_chain(events=(*case.chain.events, _event("t3", "policy-registry", "policy-expired", 7)))


def _policy_refused(case: Case) -> Case:
    return case.on_chain(events=(*case.chain.events, _event("t3", "policy-registry", "policy-refused", 8)))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda case: _without_transaction(case, "t2"), "two (oracle.publish-price) has 0 effects"),
        (lambda case: _answer(case, Answered("ABORTED", "abort_by_response", ())), "one ended as ABORTED"),
        (lambda case: _answer(case, Answered("CONFIRMED", "", ("t2",))), "one happened in t1"),
        (lambda case: _answer(case, Answered("CONFIRMED", "", ("t1", "t2"))), "one happened in t1"),
        (lambda case: case.by_gateway(intents={}), "one is unknown"),
        (lambda case: _with_transaction(case, _mined("t4", BOB, 1, "99")), "nobody ordered"),
        (lambda case: case.by_gateway(transactions={}), "t1 is on chain and not in the gateway's book"),
        (lambda case: _book(case, "t1", nonce=5), "t1 is CONFIRMED at nonce 1"),
        (lambda case: _book(case, "t1", state="ABORTED"), "t1 is CONFIRMED at nonce 1"),
        (lambda case: _book(case, "t3", state="PENDING"), "t3 is still PENDING"),
        (lambda case: _without_transaction(case, "t3"), "t3 is CONFIRMED in the book and not on chain"),
        (lambda case: case.on_chain(waiting={ALICE: (3,), BOB: ()}), "waiting in the mempool"),
        (_event_gone, "event table"),
        (_event_invented, "is not on the chain"),
        (_event_altered, "event table"),
        (_events_swapped, "the order is not that of the chain"),
        (lambda case: _streamed(case, "tip"), "consumer at the tip"),
        (lambda case: _streamed(case, "final"), "consumer of final events"),
        (lambda case: _streamed(case, "fresh"), "fresh consumer"),
        (_policy_ended_twice, "policy 7 was ended 2 times"),
        (_policy_refused, "the registry refused policy 8"),
    ],
)
def test_each_difference_is_named(tamper: Callable[[Case], Case], said: str) -> None:
    """Whatever was tampered with fails the play, in a line that says what it is."""
    verdict = tamper(_case()).judged()
    assert not verdict.holds
    assert any(said in line for line in verdict.differences), verdict.differences
