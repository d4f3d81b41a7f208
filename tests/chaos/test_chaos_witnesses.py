"""The witnesses of the chaos play: consumers that notice a broken stream, and a check that the play was a real one."""

from __future__ import annotations

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from tests.chaos.gateway.customer import Stubs
from tests.chaos.gateway.follower import Follower, place
from tests.chaos.gateway.shares import is_share, shortcomings

DRAWN = {"broadcast": 1_000, "http": 5_000}
INJECTED = {
    "broadcast.lose_request": 82,
    "broadcast.lose_answer": 58,
    "broadcast.forget": 61,
    "broadcast.duplicate": 99,
    "http.429": 310,
    "http.500": 290,
    "http.garbage": 305,
    "http.slow": 300,
    "http.hangup": 295,
}


def _event(sequence: int, txid: str, *, withdrawn: bool = False) -> chain_event_pb2.ChainEvent:
    return chain_event_pb2.ChainEvent(sequence=sequence, withdrawn=withdrawn, block_hash="b", txid=txid)


def _follower(finality: pb.EventFinality.ValueType, *events: chain_event_pb2.ChainEvent) -> Follower:
    follower = Follower(Stubs([]), finality, seed=1)
    for event in events:
        follower.take(pb.WatchEventsResponse(events=[event], cursor=str(event.sequence)))
    return follower


def test_a_consumer_believes_withdrawals_of_the_newest() -> None:
    """Away and back: what stands is what was told and not withdrawn, in order."""
    told = [_event(1, "a"), _event(2, "b"), _event(3, "b", withdrawn=True), _event(4, "c")]
    follower = _follower(pb.EVENT_FINALITY_TIP, *told)
    assert [place(event)[1] for event in follower.events] == ["a", "c"]
    assert not follower.complaints


@pytest.mark.parametrize(
    ("finality", "told", "said"),
    [
        (pb.EVENT_FINALITY_TIP, [_event(1, "a"), _event(1, "a")], "sequence 1 after 1"),
        (pb.EVENT_FINALITY_TIP, [_event(2, "a"), _event(1, "b")], "sequence 1 after 2"),
        (pb.EVENT_FINALITY_TIP, [_event(1, "a"), _event(2, "b"), _event(3, "a", withdrawn=True)], "not the newest"),
        (pb.EVENT_FINALITY_TIP, [_event(1, "a", withdrawn=True)], "not the newest"),
        (pb.EVENT_FINALITY_FINAL, [_event(1, "a"), _event(2, "a", withdrawn=True)], "a final event was withdrawn"),
    ],
)
def test_a_consumer_notices_a_broken_stream(
    finality: pb.EventFinality.ValueType, told: list[chain_event_pb2.ChainEvent], said: str
) -> None:
    """A repeat, a step back, a withdrawal of something else, a withdrawal of what was final."""
    complaints = _follower(finality, *told).complaints
    assert any(said in line for line in complaints), complaints


def test_a_play_with_its_shares_is_one() -> None:
    """Shares as chance gives them, kills and forks: nothing was left undone."""
    assert shortcomings(3, 2, DRAWN, INJECTED) == []


@pytest.mark.parametrize(
    ("kills", "forks", "injected", "said"),
    [
        (0, 2, INJECTED, "no gateway was killed"),
        (3, 0, INJECTED, "there was no fork"),
        (3, 2, {**INJECTED, "broadcast.lose_request": 0, "broadcast.forget": 0}, "broadcasts lost: 58 of 1000"),
        (3, 2, {**INJECTED, "broadcast.duplicate": 10}, "broadcasts duplicated: 10 of 1000"),
        (3, 2, {**INJECTED, "http.500": 0}, "requests that met an error: 1210 of 5000"),
    ],
)
def test_a_play_without_faults_proves_nothing(kills: int, forks: int, injected: dict[str, int], said: str) -> None:
    """What the killer and the node did not do is named, and fails the play."""
    assert any(said in line for line in shortcomings(kills, forks, DRAWN, injected))


def test_few_draws_excuse_an_odd_share() -> None:
    """None of twenty may be chance, none of two hundred is not, nor is no fault of a kind."""
    assert is_share(0, 20, 0.2)
    assert not is_share(0, 200, 0.2)
    assert "there was no fault of kind broadcast" in shortcomings(1, 1, {"broadcast": 3, "http": 9}, {"http.500": 3})
