"""Policies that are all due at one height, from that height to the end of the last one in both services' books.

The whole stack runs: Postgres that waits for the disk, Temporal, all services and the worker, each a process. Half of
the policies are in the money and are paid. The chain is a stand-in that speaks the node's protocol (tests/load/node),
since the Clarity VM would take about 300 s of a processor for the ends of 100,000 policies alone, and half an hour for
their creation; it mines a burn block every two seconds. Meanwhile holders activate other policies, two a second. The
yardstick is the processor time that the stand-in took. In the full run there are 100,000 policies, else 1,000.
"""

from __future__ import annotations

import asyncio
from typing import Final

from tests.bench.background import running
from tests.bench.expiry_stage import ExpiryStage, expiry_stage
from tests.bench.memory import Memory
from tests.bench.row import Row, quantile, value_at_most
from tests.bench.workbench import Workbench

_DUE: Final = 1_000
_FULL_DUE: Final = 100_000
_LATE: Final = 20
_FULL_LATE: Final = 400
_SAY_SECONDS: Final = 5.0
_GOAL_SECONDS: Final = 300.0


async def measure(bench: Workbench) -> Row:
    """One run."""
    due, late = (_FULL_DUE, _FULL_LATE) if bench.full else (_DUE, _LATE)
    bench.folder.chmod(0o755)
    async with expiry_stage(bench.folder / "stack", due, late) as stage:
        bench.say(f"{due:,} policies are in the books")
        before, memory = stage.processor_seconds(), Memory()
        memory.add(stage.megabytes())
        async with running(_follow(bench, stage, memory)):
            seconds = await stage.until_ended()
        memory.add(stage.megabytes())
        taken = {name: round(value - before[name], 1) for name, value in stage.processor_seconds().items()}
        bench.say(f"all have ended after {seconds:.1f} s; processor seconds {taken}")
        once, paid = await stage.ended_once()
        differences = await stage.differences()
        assert (once, paid, differences) == (due, due // 2, 0), (once, paid, differences)
        notes = {
            "policies": due,
            "ended_once": once,
            "paid": paid,
            "differences": differences,
            "activations_answered": len(stage.answered_ms),
            "activation_p99_ms": round(quantile(stage.answered_ms, 0.99), 1),
            "processor_seconds": taken,
            "megabytes": memory.summary(),
        }
        return Row(seconds, taken["devnet"], "s", value_at_most(_GOAL_SECONDS), notes=notes)


async def _follow(bench: Workbench, stage: ExpiryStage, memory: Memory) -> None:
    while True:
        await asyncio.sleep(_SAY_SECONDS)
        memory.add(stage.megabytes())
        bench.say(f"{await stage.left():,} left")
