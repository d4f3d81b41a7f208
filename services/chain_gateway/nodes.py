"""Several nodes as one: failover, a circuit breaker per node, retries with jitter within a deadline."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp

from kernel.errors import Unavailable
from services.chain_gateway.metrics import NODE_ERRORS, NODE_HEALTHY
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import NodeUnavailable

AnswerT = TypeVar("AnswerT")
_OPEN_AFTER: Final = 3
_OPEN_SECONDS: Final = 5.0
_ROUNDS: Final = 2
_PAUSE_SECONDS: Final = 0.1


@dataclass
class NodeState:
    """How one node answers. `open_until` is monotonic time: it is asked last while that lies ahead."""

    node: StacksNode
    failures: int = 0
    open_until: float = 0.0
    last_error: str = ""
    stacks_height: int = 0

    @property
    def healthy(self) -> bool:
        """Whether its last answer was one."""
        return self.failures == 0


class NodePool:
    """Asks the first healthy node; a node that fails repeatedly rests before it is asked again."""

    def __init__(self, nodes: Sequence[StacksNode]) -> None:
        self.states = [NodeState(node) for node in nodes]

    @classmethod
    def open(cls, urls: Sequence[str], session: aiohttp.ClientSession, timeout_seconds: float) -> NodePool:
        """Nodes at `urls`, in order of preference."""
        return cls([StacksNode(url, session, timeout_seconds) for url in urls])

    async def ask(self, question: Callable[[StacksNode], Awaitable[AnswerT]]) -> AnswerT:
        """The first usable answer; `Unavailable` when no node gives one, `NodeRefused` as the node says it.

        A question may reach several nodes: it must be harmless to repeat, as reads and broadcasts are.
        """
        error: NodeUnavailable | None = None
        for attempt in range(_ROUNDS):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS * (1 + random.random()))
            for state in self._in_order():
                try:
                    answer = await question(state.node)
                except NodeUnavailable as failure:
                    error = failure
                    self._failed(state, failure)
                else:
                    self._answered(state)
                    return answer
        raise Unavailable("NODE_UNAVAILABLE", f"no node answers: {error}") from error

    def _in_order(self) -> list[NodeState]:
        now = time.monotonic()
        resting = [state for state in self.states if state.open_until > now]
        return [state for state in self.states if state not in resting] or resting[:1]

    def _failed(self, state: NodeState, error: NodeUnavailable) -> None:
        state.failures += 1
        state.last_error = str(error)[:200]
        if state.failures >= _OPEN_AFTER:
            state.open_until = time.monotonic() + _OPEN_SECONDS
        NODE_ERRORS.labels(state.node.base_url).inc()
        NODE_HEALTHY.labels(state.node.base_url).set(0)

    def _answered(self, state: NodeState) -> None:
        state.failures, state.open_until = 0, 0.0
        NODE_HEALTHY.labels(state.node.base_url).set(1)

    def note_height(self, node: StacksNode, stacks_height: int) -> None:
        """Remembers the height that a node answered, for the sync state."""
        for state in self.states:
            if state.node is node:
                state.stacks_height = stacks_height
