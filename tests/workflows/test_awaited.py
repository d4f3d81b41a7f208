"""Questions whose answer is not there yet, asked within one activity."""

from __future__ import annotations

import asyncio

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from temporalio.testing import ActivityEnvironment

from kernel.errors import BitHedgeError, FailedPrecondition, Unavailable
from workflows.activities.awaited import Awaited


class Oracle:
    """Refuses as it is told, then answers."""

    def __init__(self, *refusals: BitHedgeError) -> None:
        self.refusals = list(refusals)
        self.asked: list[int] = []

    async def ensure(self, request: pb.EnsurePublishedRoundsRequest) -> pb.EnsurePublishedRoundsResponse:
        """A round of the height, once nothing is left to refuse."""
        self.asked.append(request.burn_height)
        if self.refusals:
            raise self.refusals.pop(0)
        return pb.EnsurePublishedRoundsResponse(btc_round=request.burn_height)


def request(burn_height: int) -> pb.EnsurePublishedRoundsRequest:
    """For a height."""
    return pb.EnsurePublishedRoundsRequest(burn_height=burn_height)


async def test_one_asks_for_all_who_wait_for_the_same() -> None:
    """Ten activities with one question are two calls where the first is refused; another question is another call."""
    oracle = Oracle(Unavailable("PUBLICATION_IN_FLIGHT", "not yet"))
    rounds = Awaited(oracle.ensure)
    askers = [ActivityEnvironment().run(rounds.answer, request(height)) for height in [900] * 10 + [901]]
    answers = await asyncio.gather(*askers)
    assert [answer.btc_round for answer in answers] == [900] * 10 + [901]
    assert sorted(oracle.asked) == [900, 900, 901]


async def test_one_who_is_cancelled_leaves_the_others_their_question() -> None:
    """The first asker's activity ends while a person is waited for; whoever joined it has the answer."""
    rounds = Awaited(Oracle(FailedPrecondition("NEEDS_A_PERSON", "not yet")).ensure, "NEEDS_A_PERSON")
    first = asyncio.ensure_future(ActivityEnvironment().run(rounds.answer, request(900)))
    other = asyncio.ensure_future(ActivityEnvironment().run(rounds.answer, request(900)))
    await asyncio.sleep(0)
    first.cancel()
    assert (await other).btc_round == 900
    assert first.cancelled()


@pytest.mark.parametrize(
    ("refusal", "patience_seconds"),
    [(Unavailable("NO_ROUND_YET", "not yet"), 0.0), (FailedPrecondition("NO_ROUND_NEAR", "none is left"), 3600.0)],
)
async def test_long_waits_and_refusals_for_good_end_the_activity(
    refusal: BitHedgeError, patience_seconds: float
) -> None:
    """Raised as the error it is; the next activity asks anew."""
    rounds = Awaited(Oracle(refusal).ensure, "NEEDS_A_PERSON", patience_seconds=patience_seconds)
    with pytest.raises(type(refusal), match=refusal.message):
        await ActivityEnvironment().run(rounds.answer, request(900))
    assert (await ActivityEnvironment().run(rounds.answer, request(900))).btc_round == 900
