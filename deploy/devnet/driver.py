"""Starts the devnet as a process of its own and speaks its development-only paths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from deploy.devnet.node_program import node_environment, node_executable

_PROGRAM = Path(__file__).with_name("main.mjs")
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02


class DevnetError(Exception):
    """The devnet did not start, ended, or refused a request; the message is its own."""


@dataclass(frozen=True)
class Clock:
    """Market time (unix seconds), burn height, market seconds per wall second, and why the clock is held."""

    market_time: float
    burn_height: int
    speed: float
    held: tuple[str, ...]


@dataclass(frozen=True)
class DevnetSettings:
    """Where and how a devnet runs.

    `state_folder` keeps its log; port 0 takes a free port; `market_start` is ISO 8601; `block_interval_ms` 0 mines on
    demand only; `genesis` is a JSON file {"accounts": [{address, ustx, sats}]}.
    """

    state_folder: Path
    port: int = 0
    host: str = "127.0.0.1"
    market_start: str = "2020-03-11T00:00:00Z"
    speed: float = 0.0
    block_interval_ms: int = 100
    genesis: Path | None = None
    # True: deployments, and the first call of a block, tell what they cost; calls take six times as long.
    costs: bool = False
    # True: the process ends with whoever holds its standard input.
    until_stdin_ends: bool = True

    @property
    def command(self) -> list[str]:
        """The command line of the process."""
        flags = {
            "state": self.state_folder,
            "port": self.port,
            "host": self.host,
            "market-start": self.market_start,
            "speed": self.speed,
            "block-interval": self.block_interval_ms,
        }
        if self.genesis is not None:
            flags["genesis"] = self.genesis
        command = [node_executable(), str(_PROGRAM), *(f"--{name}={value}" for name, value in flags.items())]
        switches = {"--costs": self.costs, "--until-stdin-ends": self.until_stdin_ends}
        return [*command, *(name for name, on in switches.items() if on)]

    @property
    def error_file(self) -> Path:
        """Where the process's stderr goes."""
        return self.state_folder / "devnet.stderr"


class DevnetClient:
    """The development-only paths of a devnet at `url`. Use as an async context manager."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """A path's JSON; raises DevnetError for any status but 200."""
        return await self.request("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer to a JSON body; raises DevnetError for any status but 200."""
        return await self.request("POST", path, body)

    async def clock(self) -> Clock:
        """The market clock."""
        return _clock(await self.get("/devnet/clock"))

    async def set_speed(self, speed: float) -> Clock:
        """Market seconds per wall second; 0 stops the clock."""
        return _clock(await self.request("POST", "/devnet/clock", {"speed": speed}))

    async def advance(self, seconds: float) -> Clock:
        """Moves market time on, mining what is ready and then the burn blocks that it crosses."""
        return _clock(await self.request("POST", "/devnet/advance", {"seconds": seconds}))

    async def mine_burn_blocks(self, count: int = 1) -> Clock:
        """Mines burn blocks; market time moves to the last one's."""
        return _clock(await self.request("POST", "/devnet/burn-blocks", {"count": count}))

    async def mine_block(self) -> Clock:
        """Mines a Stacks block now, if only an empty one."""
        return _clock(await self.request("POST", "/devnet/blocks", None))

    async def faucet_stx(self, address: str, ustx: int | None = None) -> str:
        """Sends STX from the faucet; gives the txid (with 0x)."""
        return await self._faucet("stx", address, ustx)

    async def faucet_sbtc(self, address: str, sats: int | None = None) -> str:
        """Sends sBTC from the faucet; gives the txid (with 0x)."""
        return await self._faucet("sbtc", address, sats)

    async def wait_for(self, txid: str, seconds: float = 60.0) -> dict[str, Any]:
        """The transaction once it is no longer pending; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (transaction := await self.get(f"/extended/v1/tx/{txid}"))["tx_status"] == "pending":
                await asyncio.sleep(_POLL_SECONDS)
        return transaction

    async def _faucet(self, token: str, address: str, amount: int | None) -> str:
        suffix = "" if amount is None else f"&amount={amount}"
        answer = await self.request("POST", f"/extended/v1/faucets/{token}?address={address}{suffix}", None)
        return str(answer["txId"])

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """The JSON answer to a request, with a JSON body unless that is None; raises DevnetError like `get`."""
        assert self._session is not None
        async with self._session.request(method, f"{self.url}{path}", json=body) as response:
            if response.status != 200:
                raise DevnetError(f"{method} {path}: {response.status} {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer


class Devnet(DevnetClient):
    """A devnet process with its client: started on entry, ended on exit."""

    def __init__(self, settings: DevnetSettings) -> None:
        super().__init__("")
        self.settings = settings
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """The id of the devnet's process."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self.settings.state_folder.mkdir(parents=True, exist_ok=True)
        with self.settings.error_file.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *self.settings.command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=errors,
                env=node_environment(),
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            line = (await self._process.stdout.readline()).decode()
        if not line.startswith("listening "):
            await self._process.wait()
            raise DevnetError(self.settings.error_file.read_text().strip())
        self.url = line.removeprefix("listening ").strip()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self.stop()

    async def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process and gives its exit code; does nothing more when it has ended."""
        assert self._process is not None
        if self._process.returncode is None:
            # Not by `send_signal`, which takes the exit code of a process that ended by itself from who waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, with_signal)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()


def _clock(answer: Mapping[str, Any]) -> Clock:
    market_time, burn_height = float(answer["market_time"]), int(answer["burn_height"])
    return Clock(market_time, burn_height, float(answer["speed"]), tuple(answer["held"]))
