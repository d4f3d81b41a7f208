"""Contract calls built, signed and serialized per second by one process, beside `@stacks/transactions` in Node.

Each is a `settle-policy` call with its receipt, signature and one post-condition, at a nonce of its own: from plain
numbers to the bytes that are broadcast, and their txid. Both sides make the same bytes, which is checked.
"""

from __future__ import annotations

import time

from tests.bench.row import Row, at_least, of_samples
from tests.bench.stacks_library import signed_settlement, stacks_library
from tests.bench.workbench import Workbench

_COUNT = 1_500


async def measure(bench: Workbench) -> Row:
    """Ours and theirs in turns."""
    async with stacks_library() as library:
        _, theirs = await library.sign(7, 1)
        if signed_settlement(7)[0].hex() != theirs:
            raise AssertionError("the two sides make different transactions")

        async def ours() -> float:
            start = time.perf_counter()
            for nonce in range(_COUNT):
                signed_settlement(nonce)
            return _COUNT / (time.perf_counter() - start)

        async def yardstick() -> float:
            seconds, _ = await library.sign(0, _COUNT)
            return _COUNT / seconds

        return of_samples(*await bench.in_turns(ours, yardstick), "calls/s", at_least(5.0))
