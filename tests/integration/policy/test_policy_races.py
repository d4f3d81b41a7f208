"""Requests to activate that race expiry, each other, a pause, a price outage: every pair, in both orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from kernel.rpc.status import error_from_call
from tests.integration.policy.harness import House
from tests.integration.policy.races import AT_ONCE, HAPPENINGS, PAIRS, Pair, Subject, new_subject, table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "activation_races.md"


@pytest.fixture
async def one(shared_house: House) -> AsyncIterator[Subject]:
    """An ACTIVE policy; prices and contracts are as usual again afterwards."""
    yield await new_subject(shared_house)
    shared_house.oracle.is_down, shared_house.gateway.paused = False, []


async def happen(one: Subject, names: Sequence[str]) -> None:
    """Lets things happen one after the other."""
    for name in names:
        await HAPPENINGS[name][0](one)


async def reason_of(one: Subject, name: str) -> str:
    """Lets it happen; the reason of its refusal, empty if it was none."""
    try:
        await HAPPENINGS[name][0](one)
    except grpc.aio.AioRpcError as error:
        return error_from_call(error).reason
    return ""


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.first}, then {pair.second}")
async def test_what_follows_of_a_pair(one: Subject, pair: Pair) -> None:
    """The state and the refusal that the table says."""
    await happen(one, [*HAPPENINGS[pair.first][1], pair.first])
    assert (await reason_of(one, pair.second), await one.state()) == (pair.refusal, pair.state)


@pytest.mark.parametrize(("first", "second"), AT_ONCE)
async def test_at_once_is_one_of_both_orders(one: Subject, first: str, second: str) -> None:
    """Two at the same time end as if one of them had come first; no third outcome, and no error of another kind."""
    answers = await asyncio.gather(reason_of(one, first), reason_of(one, second))
    allowed = {(pair.first, pair.second, pair.state, pair.refusal) for pair in PAIRS}
    state = await one.state()
    assert {(first, second, state, answers[1]), (second, first, state, answers[0])} & allowed


def test_the_page_is_the_table() -> None:
    """docs/activation_races.md shows the pairs as they are tested."""
    assert table() in PAGE.read_text()
