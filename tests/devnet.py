"""Devnets for tests: each on a free port, with its state in a folder that the test gives."""

from __future__ import annotations

import selectors
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

from deploy.devnet.driver import Devnet, DevnetError, DevnetSettings
from deploy.devnet.node_program import node_environment

__all__ = ["Devnet", "DevnetError", "DevnetSettings", "running_devnet", "running_devnet_url"]

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


@asynccontextmanager
async def running_devnet(state_folder: Path, **settings: Any) -> AsyncIterator[Devnet]:
    """A devnet that runs as long as the block; `settings` are those of `DevnetSettings`."""
    async with Devnet(DevnetSettings(state_folder, **settings)) as devnet:
        yield devnet


@contextmanager
def running_devnet_url(state_folder: Path, **settings: Any) -> Iterator[str]:
    """The same without asyncio: gives the devnet's URL."""
    chosen = DevnetSettings(state_folder, **settings)
    state_folder.mkdir(parents=True, exist_ok=True)
    with chosen.error_file.open("wb") as errors:
        process = subprocess.Popen(
            chosen.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=node_environment(),
        )
    try:
        assert process.stdout is not None
        line = _first_line(process.stdout)
        if not line.startswith("listening "):
            raise DevnetError(chosen.error_file.read_text().strip() or "the devnet did not start in time")
        yield line.removeprefix("listening ").strip()
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None:
            process.stdout.close()


def _first_line(stream: IO[bytes]) -> str:
    """The first line, empty when none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline().decode() if selector.select(_START_SECONDS) else ""
