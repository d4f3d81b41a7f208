"""Answers kept as long as the tip is the same: who asks the same at the same time shares one question."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

AnswerT = TypeVar("AnswerT")
_KEPT: Final = 10_000


class TipCache(Generic[AnswerT]):
    """One per kind of answer. A failure is told to all who wait for it, and is not kept."""

    def __init__(self) -> None:
        self._tip = ""
        self._answers: dict[Hashable, asyncio.Task[AnswerT]] = {}

    async def get(self, tip: str, key: Hashable, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """The answer to `key` at a tip, asked for once."""
        if tip != self._tip or len(self._answers) >= _KEPT:
            self._tip, self._answers = tip, {}
        answers = self._answers
        task = answers.get(key)
        if task is None:
            # In a context of its own: the question is not bound to the deadline of whoever came first.
            task = asyncio.create_task(_asked(ask), context=contextvars.Context())
            answers[key] = task
            task.add_done_callback(lambda done: answers.pop(key, None) if _failed(done) else None)
        # Who stops waiting does not take the answer from the others.
        return await asyncio.shield(task)


async def _asked(ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    return await ask()


def _failed(task: asyncio.Task[AnswerT]) -> bool:
    return task.cancelled() or task.exception() is not None
