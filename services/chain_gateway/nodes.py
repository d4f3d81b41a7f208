"""Several nodes as one: the soundest is asked first, another one when it fails, within a deadline."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import aiohttp

from kernel.errors import Unavailable
from kernel.rpc.deadline import remaining_seconds
from services.chain_gateway.domain.node_choice import HealthBounds, best_height, is_behind, order
from services.chain_gateway.node_slot import NodeResting, NodeSlot, Question
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import NodeBehind, NodeRefused, NodeUnavailable
from services.chain_gateway.stacks.node_types import Block

AnswerT = TypeVar("AnswerT")
_ROUNDS: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_ALL_ATTEMPTS_SECONDS: Final = 30.0


class Asker(Protocol):
    """Whoever answers questions to nodes."""

    async def ask(self, question: Question[AnswerT]) -> AnswerT:
        """The first usable answer."""


class NodePool:
    """Asks nodes by health and weight. A node whose breaker is open, or that asked for rest, is not asked."""

    def __init__(
        self,
        slots: Sequence[NodeSlot],
        bounds: HealthBounds | None = None,
        all_attempts_seconds: float = _ALL_ATTEMPTS_SECONDS,
    ) -> None:
        self.slots = slots
        self.bounds = bounds or HealthBounds()
        self._all_attempts_seconds = all_attempts_seconds

    @classmethod
    def open(
        cls,
        urls: Sequence[str],
        session: aiohttp.ClientSession,
        timeout_seconds: float,
        weights: Sequence[int] = (),
        bounds: HealthBounds | None = None,
    ) -> NodePool:
        """Nodes at `urls`, of equal weight where none is given. `timeout_seconds` bounds each exchange."""
        nodes = [StacksNode(url, session, timeout_seconds) for url in urls]
        given = weights or [1] * len(nodes)
        return cls([NodeSlot(node, weight) for node, weight in zip(nodes, given, strict=True)], bounds)

    async def ask(self, question: Question[AnswerT], first: NodeSlot | None = None) -> AnswerT:
        """The first usable answer; `Unavailable` when no node gives one in time, or BLOCK_UNREADABLE when those that
        answer lack the block at which they were asked; `NodeRefused` as a node says it.

        A question may reach several nodes: it must be harmless to repeat, as reads and broadcasts are. All attempts
        together end when the caller of the request being served stops waiting. `first` is asked before the others.
        """
        left = remaining_seconds()
        budget = self._all_attempts_seconds if left is None else min(left, self._all_attempts_seconds)
        try:
            async with asyncio.timeout(budget):
                return await self._ask(question, first)
        except TimeoutError:
            raise Unavailable("NODE_TIMEOUT", f"no node answered within {budget:.1f} s") from None

    async def ask_each(
        self, question: Question[AnswerT | None], slots: Sequence[NodeSlot] | None = None
    ) -> dict[NodeSlot, AnswerT]:
        """The answers of all nodes, or of `slots`, that may be asked and give one other than None."""
        asked = self.slots if slots is None else slots
        answers = await asyncio.gather(*(_ask_one(slot, question) for slot in asked))
        return {slot: answer for slot, answer in zip(asked, answers, strict=True) if answer is not None}

    def sticky(self) -> StickyNodes:
        """A view for questions that belong together: all are put to one node while that one answers."""
        return StickyNodes(self)

    def is_sound(self, slot: NodeSlot) -> bool:
        """Whether a node keeps up with the others and tells what they tell."""
        heights = [one.stacks_height for one in self.slots if one.stacks_height]
        return not slot.disagrees and not is_behind(slot.standing, best_height(heights), self.bounds)

    def slot_of(self, node: StacksNode) -> NodeSlot | None:
        """What is known of a node."""
        return next((slot for slot in self.slots if slot.node is node), None)

    def note_tip(self, node: StacksNode, tip: Block) -> None:
        """Remembers the tip that a node answered."""
        if (slot := self.slot_of(node)) is not None:
            slot.saw(tip)

    async def _ask(self, question: Question[AnswerT], first: NodeSlot | None) -> AnswerT:
        error: NodeUnavailable | None = None
        for attempt in range(_ROUNDS):
            if attempt:
                # Full jitter: whoever failed together does not come back together.
                await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)))
            await self._short_rest()
            for slot in self._in_order(first):
                try:
                    return await slot.put(question)
                except NodeResting:
                    continue
                except NodeUnavailable as failure:
                    error = failure
        if isinstance(error, NodeBehind):
            raise Unavailable("BLOCK_UNREADABLE", f"no node that answers has the block: {error}") from error
        why = error or "each of them rests after failures"
        raise Unavailable("NODE_UNAVAILABLE", f"no node answers: {why}") from error

    async def _short_rest(self) -> None:
        """Where all nodes rest, waits for the first to be back, unless that takes long: then it is better to fail."""
        seconds = min(slot.rest_seconds for slot in self.slots)
        if 0 < seconds <= _LONGEST_PAUSE_SECONDS:
            await asyncio.sleep(seconds)

    def _in_order(self, first: NodeSlot | None) -> list[NodeSlot]:
        standings = [slot.standing for slot in self.slots]
        chosen = [self.slots[place] for place in order(standings, self.bounds, random.random)]
        return chosen if first is None else [first, *(slot for slot in chosen if slot is not first)]


async def _ask_one(slot: NodeSlot, question: Question[AnswerT | None]) -> AnswerT | None:
    try:
        return await slot.put(question)
    except (NodeRefused, NodeUnavailable, NodeResting):
        return None


class StickyNodes:
    """Asks the node that answered last, so that one chain is seen; another where that one fails or is not sound."""

    def __init__(self, pool: NodePool) -> None:
        self._pool = pool
        self._slot: NodeSlot | None = None

    async def ask(self, question: Question[AnswerT]) -> AnswerT:
        """As `NodePool.ask`."""

        async def noted(node: StacksNode) -> AnswerT:
            answer = await question(node)
            self._slot = self._pool.slot_of(node)
            return answer

        slot = self._slot
        return await self._pool.ask(noted, slot if slot is not None and self._pool.is_sound(slot) else None)

    def leave(self) -> None:
        """Chooses anew with the next question."""
        self._slot = None

    def note_tip(self, node: StacksNode, tip: Block) -> None:
        """As `NodePool.note_tip`."""
        self._pool.note_tip(node, tip)
