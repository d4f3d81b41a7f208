"""What is read ahead of the books: which answers go into one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from services.pool.backlog import Batch, batches


def _answer(cursor: int, events: int, height: int) -> pb.WatchEventsResponse:
    """An answer whose events cost a fee each; its transactions are numbered by cursor and place."""
    made = [event_pb2.ChainEvent(txid=f"{cursor}-{number}") for number in range(events)]
    for event in made:
        event.fee_paid.SetInParent()
    return pb.WatchEventsResponse(events=made, cursor=str(cursor), delivered_burn_height=height)


async def _each(*answers: pb.WatchEventsResponse, lost: bool = False) -> AsyncIterator[pb.WatchEventsResponse]:
    for answer in answers:
        yield answer
    if lost:
        raise ConnectionError("the stream is lost")


async def _of(answers: AsyncIterator[pb.WatchEventsResponse]) -> list[Batch]:
    return [batch async for batch in batches(answers)]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(3, 0), (2, 7)], [("2", 5, 7)]),
        ([(3, 6), (2, 7), (0, 8)], [("1", 3, 6), ("2", 2, 7), ("3", 0, 8)]),
        ([(600, 0), (300, 0), (200, 0), (4, 9)], [("3", 1_100, 0), ("4", 4, 9)]),
        ([(0, 0), (1, 2)], [("1", 0, 0), ("2", 1, 2)]),
        ([(2, 0)], [("1", 2, 0)]),
    ],
    ids=["more follow at once", "following the chain", "as large as may be", "no height is final yet", "cut off"],
)
async def test_answers_are_joined_where_more_follow_at_once(
    answers: list[tuple[int, int]], expected: list[tuple[str, int, int]]
) -> None:
    """Each transaction takes in as many answers as belong to one reading, within its bound, and ends where they do."""
    given = [_answer(cursor, *answer) for cursor, answer in enumerate(answers, 1)]
    found = await _of(_each(*given))
    assert [(batch.cursor, len(batch.events), batch.delivered_burn_height) for batch in found] == expected
    assert [one.message for batch in found for one in batch.events] == [event for one in given for event in one.events]


async def test_a_lost_stream_is_told_after_what_came_before_it() -> None:
    """Full batches are handed out; what was begun is dropped, to be read again, and the loss is raised."""
    following = batches(_each(_answer(1, 2, 5), _answer(2, 3, 0), lost=True))
    assert (await anext(following)).cursor == "1"
    with pytest.raises(ConnectionError):
        await anext(following)


async def test_an_event_that_makes_no_sense_is_handed_on_with_its_error() -> None:
    """It is for the books to record: nothing is dropped on the way."""
    bad = _answer(1, 1, 5)
    bad.events[0].policy_expired.policy = "policies/none"
    (batch,) = await _of(_each(bad))
    assert batch.events[0].event is None
    assert "policies/" in str(batch.events[0].error)
