"""Two gateway processes on one database with the same two keys, and who kills them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from deploy.local.processes import free_ports
from tests.chaos.gateway.scene import Scene

NAMES: Final = ("a", "b")
# More burn blocks than the deepest fork withdraws: the weather sees to it that no fork reaches what is final.
FINALITY_BURN_CONFIRMATIONS: Final = 7
_PROGRAM: Final = "tests.integration.chain_gateway.gateway_process"
_POLL_SECONDS: Final = 0.05
_MOST_CRASHES: Final = 5
_BOTH: Final = 0.15
_MOST_SECONDS_DOWN: Final = 1.5


def gateway_environment(scene: Scene, database_url: str) -> dict[str, str]:
    """The settings of every replica but for its address: two ways to the node, a queue that fills."""
    url = scene.devnet.url
    return {
        **{name: value for name, value in os.environ.items() if name != "LOG_LEVEL"},
        "DATABASE_URL": database_url,
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "NODE_URLS": f"{url},{url.replace('127.0.0.1', 'localhost')}",
        "NODE_TIMEOUT_SECONDS": "2",
        "CONTRACT_DEPLOYER": scene.world.deployer,
        "BACKEND_SIGNERS": ",".join(f"file:{path.absolute()}" for path in scene.keys),
        "FINALITY_BURN_CONFIRMATIONS": str(FINALITY_BURN_CONFIRMATIONS),
        "POLL_INTERVAL_MS": "100",
        "STUCK_BLOCKS": "4",
        "QUEUE_LIMIT": "200",
        "PYTHONPATH": os.pathsep.join((".", "gen")),
    }


class ReplicaError(Exception):
    """A gateway does not run; one line."""


class Replica:
    """One process at a fixed address, started anew after each end."""

    def __init__(self, name: str, port: int, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._environment = {**environment, "LISTEN": self.address}
        self._log = folder / f"gateway-{name}.log"
        self._process: Process | None = None
        # Ends that nobody ordered.
        self.crashes: list[str] = []

    async def start(self) -> None:
        """Starts the process unless it runs; one that ended by itself is noted."""
        if self._process is not None and self._process.returncode is None:
            return
        if self._process is not None and self._process.returncode != -signal.SIGKILL:
            self.crashes.append(f"gateway {self.name} ended by itself: {self._process.returncode} ({self._log})")
            if len(self.crashes) > _MOST_CRASHES:
                raise ReplicaError(self.crashes[-1])
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", _PROGRAM, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    async def kill(self) -> bool:
        """SIGKILL; whether there was something to kill."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return await self._process.wait() == -signal.SIGKILL

    async def listens(self) -> bool:
        """Whether it takes connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True


class Replicas:
    """Both of them."""

    def __init__(self, all_of_them: Sequence[Replica]) -> None:
        self.all = tuple(all_of_them)
        self.kills: Counter[str] = Counter()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where they serve."""
        return tuple(replica.address for replica in self.all)

    @property
    def killed(self) -> int:
        """How many processes were killed."""
        return sum(self.kills[replica.name] for replica in self.all)

    @property
    def crashes(self) -> list[str]:
        """Ends that nobody ordered."""
        return [crash for replica in self.all for crash in replica.crashes]

    async def watch(self) -> None:
        """Starts again what is down and should not be, as a supervisor would; until cancelled."""
        while True:
            await self.serving()
            await asyncio.sleep(1)

    async def serving(self) -> None:
        """Starts what is down and waits until both take connections."""
        for replica in self.all:
            await replica.start()
        while not all([await replica.listens() for replica in self.all]):
            await asyncio.sleep(_POLL_SECONDS)
            for replica in self.all:
                await replica.start()

    async def kill_now_and_then(self, seed: int, pause_seconds: tuple[float, float]) -> None:
        """SIGKILL to one of them, at times to both, every few seconds after they serve; until cancelled."""
        chance = random.Random(f"{seed}/kills")
        while True:
            await self.serving()
            await asyncio.sleep(chance.uniform(*pause_seconds))
            victims = self.all if chance.random() < _BOTH else (chance.choice(self.all),)
            for replica in victims:
                if await replica.kill():
                    self.kills[replica.name] += 1
            self.kills["both"] += len(victims) > 1
            await asyncio.sleep(chance.uniform(0, _MOST_SECONDS_DOWN))


@asynccontextmanager
async def running_replicas(scene: Scene, database_url: str, folder: Path) -> AsyncIterator[Replicas]:
    """Both serve at first; what runs at the end is killed."""
    environment = gateway_environment(scene, database_url)
    ports = free_ports(len(NAMES))
    replicas = Replicas([Replica(name, port, environment, folder) for name, port in zip(NAMES, ports, strict=True)])
    try:
        await replicas.serving()
        yield replicas
    finally:
        for replica in replicas.all:
            await replica.kill()
