"""Reads of one tip are asked for once, whoever asks, and a node without that tip is not believed."""

from __future__ import annotations

import asyncio

import pytest

from kernel.errors import Unavailable
from kernel.rpc.deadline import remaining_seconds, set_deadline
from services.chain_gateway.node_slot import NodeSlot
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.clarity import UInt
from services.chain_gateway.stacks.node_errors import NodeBehind
from services.chain_gateway.tip_cache import TipCache
from tests.unit.chain_gateway.node_answers import CONTRACT, always, node_at


class Source:
    """Answers numbers in a row, when it is let; the numbers in `failing` as errors."""

    def __init__(self, *failing: int) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.deadlines: list[float | None] = []
        self._failing = failing

    async def ask(self) -> int:
        """The next number."""
        self.asked += 1
        number = self.asked
        self.deadlines.append(remaining_seconds())
        await self.open.wait()
        if number in self._failing:
            raise Unavailable("NO", "no")
        return number


async def test_the_same_question_is_asked_once() -> None:
    """Ten at the same time and one later share one answer; another key and another tip are asked anew."""
    cache, source = TipCache[int](), Source()
    waiting = [asyncio.create_task(cache.get("a", 1, source.ask)) for _ in range(10)]
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting) == [1] * 10
    assert await cache.get("a", 1, source.ask) == 1
    assert await cache.get("a", 2, source.ask) == 2
    assert await cache.get("b", 1, source.ask) == 3


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    """Whoever waited learns of it; the next one asks again."""
    cache, source = TipCache[int](), Source(1)
    source.open.set()
    both = await asyncio.gather(*(cache.get("a", 1, source.ask) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in both] == [Unavailable, Unavailable]
    assert await cache.get("a", 1, source.ask) == 2


async def test_whoever_leaves_takes_nothing_along() -> None:
    """The first caller's deadline and departure concern nobody else."""
    cache, source = TipCache[int](), Source()
    set_deadline(1.0)
    first = asyncio.create_task(cache.get("a", 1, source.ask))
    set_deadline(None)
    second = asyncio.create_task(cache.get("a", 1, source.ask))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.open.set()
    assert await second == 1
    assert source.deadlines == [None]


async def test_a_node_without_the_tip_is_passed_over() -> None:
    """A read at a block that one node lacks is answered by the other; the first is behind, not broken."""
    answer = {"okay": True, "result": "0x0100000000000000000000000000000007"}
    async with node_at(always({}, 404)) as behind, node_at(always(answer)) as ahead:
        with pytest.raises(NodeBehind):
            await behind.call_read(CONTRACT, "f", tip="ab" * 32)
        pool = NodePool([NodeSlot(behind), NodeSlot(ahead, weight=0)])
        assert await pool.ask(lambda node: node.call_read(CONTRACT, "f", tip="ab" * 32)) == UInt(7)
        assert [slot.breaker.failures for slot in pool.slots] == [0, 0]
