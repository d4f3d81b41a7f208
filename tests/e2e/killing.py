"""One process of a running stack after another is killed, and started again as its supervisor would."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from deploy.local.processes import StackError
from deploy.local.stack import PROCESSES, Stack

_PAUSE_SECONDS: Final = (2.0, 6.0)
_STARTS: Final = 5


class Killer:
    """SIGKILL to a random process every few seconds; no process is killed twice before each was killed once."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack = stack
        self._random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        # What ended by itself, with its last words: a crash that nobody ordered.
        self.ended: list[str] = []

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Kills while inside; everything runs again on leaving. What does not start again ends the play at once."""
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill_until(enough))
            yield
            enough.set()

    async def _kill_until(self, enough: asyncio.Event) -> None:
        victims: list[str] = []
        while not await _set_within(enough, self._random.uniform(*_PAUSE_SECONDS)):
            victims = victims or self._random.sample(PROCESSES, len(PROCESSES))
            name = victims.pop()
            process = self._stack.processes.running(name)
            if process is not None:
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.wait)
                self.killed[name] += 1
            await self._start()
        await self._start()

    async def _start(self) -> None:
        for name in PROCESSES:
            if self._stack.processes.running(name) is None:
                print(f"  {name} is down", flush=True)
        for _ in range(_STARTS):
            try:
                return await self._stack.start()
            except StackError as error:
                self.ended.append(str(error))
        raise StackError(f"the stack does not start: {self.ended}")


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
