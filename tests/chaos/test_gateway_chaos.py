"""A short play of the chaos command; `make chaos` runs the long ones."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Final

_INTENTS: Final = 40
_SEED: Final = 7


async def test_intents_have_one_effect_each_under_fire(tmp_path: Path) -> None:
    """Two gateways that are killed, a node that loses, lies and forks: one effect each, no gap, no difference."""
    command = [sys.executable, "-m", "tests.chaos.gateway", f"--intents={_INTENTS}", f"--seed={_SEED}"]
    process = await asyncio.create_subprocess_exec(*command, f"--folder={tmp_path}", stdout=PIPE, stderr=PIPE)
    try:
        stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, stderr.decode()
    told = json.loads(stdout.decode().splitlines()[-1])
    assert (told["intents"], told["effects"], told["gaps"], told["differences"]) == (_INTENTS, _INTENTS, 0, 0)
