"""One node of several: its breaker, when it wants to be left alone, what it said of its tip, and its metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from services.chain_gateway import metrics
from services.chain_gateway.domain.breaker import Breaker, BreakerState, Permit
from services.chain_gateway.domain.node_choice import Standing
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import NodeBehind, NodeBusy, NodeRefused, NodeUnavailable
from services.chain_gateway.stacks.node_types import Block

AnswerT = TypeVar("AnswerT")
Question = Callable[[StacksNode], Awaitable[AnswerT]]
_LONGEST_REST_SECONDS: Final = 60.0
_TEXT_SHOWN: Final = 200


class NodeResting(Exception):
    """The node is left alone now."""


class NodeSlot:
    """Keeps count of one node. `disagreements` counts since the start of the process."""

    def __init__(self, node: StacksNode, weight: int = 1) -> None:
        self.node = node
        self.weight = weight
        self.breaker = Breaker()
        self.last_error = ""
        self.stacks_height = 0
        self.disagrees = False
        self.disagreements = 0
        self._tip = ""
        self._tip_seen: float | None = None
        self._rests_until = 0.0
        self._show()

    @property
    def url(self) -> str:
        """Its address."""
        return self.node.base_url

    @property
    def healthy(self) -> bool:
        """Whether its last answer was one."""
        return self.breaker.failures == 0 and self.state is BreakerState.CLOSED

    @property
    def state(self) -> BreakerState:
        """The breaker's state now."""
        return self.breaker.state(time.monotonic())

    @property
    def rest_seconds(self) -> float:
        """For how long it is left alone, as far as is known."""
        now = time.monotonic()
        return max(0.0, self._rests_until - now, self.breaker.opens_in(now))

    @property
    def tip_age_seconds(self) -> float | None:
        """How long its tip has been the same, as far as we saw; None before it told one."""
        return None if self._tip_seen is None else time.monotonic() - self._tip_seen

    @property
    def standing(self) -> Standing:
        """What counts for its place in the order."""
        height = None if self._tip_seen is None else self.stacks_height
        return Standing(self.weight, height, self.tip_age_seconds, self.disagrees)

    async def put(self, question: Question[AnswerT]) -> AnswerT:
        """Its answer to a question; NodeResting, without asking, while it is to be left alone."""
        now = time.monotonic()
        permit = None if now < self._rests_until else self.breaker.take(now)
        if permit is None:
            raise NodeResting
        # As long as nothing else is known: the caller went away before there was an answer.
        end: Callable[[Permit], None] = self.breaker.released
        try:
            answer = await question(self.node)
            end = self.breaker.succeeded
            return answer
        except (NodeRefused, NodeBehind):
            end = self.breaker.succeeded
            raise
        except NodeUnavailable as failure:
            end = partial(self._failed, error=failure)
            raise
        finally:
            end(permit)
            self._show()

    def _failed(self, permit: Permit, error: NodeUnavailable) -> None:
        """One that is busy is not broken: it is left alone for as long as it asks, within bounds."""
        self.last_error = str(error)[:_TEXT_SHOWN]
        if isinstance(error, NodeBusy):
            self._rests_until = time.monotonic() + min(_LONGEST_REST_SECONDS, error.retry_after_seconds)
            self.breaker.released(permit)
            metrics.NODE_BUSY.labels(self.url).inc()
        else:
            self.breaker.failed(permit, time.monotonic())
            metrics.NODE_ERRORS.labels(self.url).inc()

    def saw(self, tip: Block) -> None:
        """Notes its tip."""
        if tip.index_hash != self._tip:
            self._tip, self._tip_seen = tip.index_hash, time.monotonic()
        self.stacks_height = tip.height
        metrics.NODE_TIP_HEIGHT.labels(self.url).set(tip.height)
        self._show()

    def judged(self, about: str, disagrees: bool) -> None:
        """Notes whether it tells something else than the other nodes; `about` what."""
        self.disagrees = disagrees
        if disagrees:
            self.disagreements += 1
            metrics.NODE_DISAGREEMENTS.labels(self.url, about).inc()

    def _show(self) -> None:
        metrics.NODE_HEALTHY.labels(self.url).set(self.healthy)
        metrics.NODE_BREAKER.labels(self.url).set(self.state)
