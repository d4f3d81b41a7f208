"""What the node does to the gateway: lost broadcasts, errors, lies, forks, burn blocks. All of it from one seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Final

import aiohttp

from deploy.devnet.driver import DevnetClient, DevnetError
from deploy.devnet.faults import (
    Answer,
    BroadcastFaults,
    Delay,
    Fate,
    FaultDriver,
    Faults,
    HttpFault,
    NonceLie,
    Reject,
)
from tests.chaos.gateway.replicas import FINALITY_BURN_CONFIRMATIONS

BROADCASTS_LOST: Final = 0.20
BROADCASTS_DUPLICATED: Final = 0.10
NODE_ERRORS: Final = 0.30
DEEPEST_FORK: Final = 5
_PASSING_REASONS: Final = (
    "TooMuchChaining",
    "NotEnoughFunds",
    "TemporarilyBlacklisted",
    "EstimatorError",
    "ServerFailureDatabase",
    "ServerFailureNoSuchChainTip",
)
_LIES: Final = (3, 1, -1, -2)
_ANSWERS: Final[tuple[Answer, ...]] = ("429", "500", "garbage", "slow", "hangup")
_SLOW_MS: Final = (200, 3_000)
_PATHS: Final = ("/v2/accounts", "/v2/contracts/call-read", "/v2/fees", "/extended")
_WAYS: Final[tuple[Fate, ...]] = ("return", "lose", "shuffle")
_BURN_SECONDS: Final = (0.6, 1.4)
_FORK_SECONDS: Final = (2.0, 5.0)
_BURN_FORKS: Final = 0.3
_CHANGE_SECONDS: Final = (4.0, 8.0)
# Once: the VM is given the whole chain again, during which nothing is mined.
_CRASH_SECONDS: Final = (10.0, 30.0)
_AGAIN_SECONDS: Final = 0.05


def faults_of(chance: random.Random) -> Faults:
    """One set of faults: the shares are always the same, lies and times change."""
    rules = [
        # Each answer has the same share of all requests, though a rule sees only what those before it let pass.
        HttpFault(path, _share(index), answer, chance.randint(*_SLOW_MS) if answer == "slow" else None, 1)
        for path in _PATHS
        for index, answer in enumerate(_ANSWERS)
    ]
    broadcast = BroadcastFaults(
        lose_request=0.4 * BROADCASTS_LOST,
        lose_answer=0.3 * BROADCASTS_LOST,
        forget=0.3 * BROADCASTS_LOST,
        duplicate=BROADCASTS_DUPLICATED,
        delay=Delay(0.05, chance.randint(200, 1_500)),
        reorder=0.05,
        reject=Reject(0.05, _PASSING_REASONS),
    )
    return Faults(chance.randrange(1 << 31), broadcast, tuple(rules), NonceLie(0.2, chance.choice(_LIES)))


def _share(index: int) -> float:
    each = NODE_ERRORS / len(_ANSWERS)
    return each / (1 - each * index)


class Weather:
    """Makes it, and counts it. `forks` by depth; `injected` by kind of fault, of so many `drawn`, over all
    changes of the faults."""

    def __init__(self, devnet: DevnetClient, seed: int) -> None:
        self._devnet = devnet
        self._faults = FaultDriver(devnet)
        self._seed = seed
        self.forks: Counter[int] = Counter()
        self.ways: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.burn_blocks = 0
        self.crashes = 0

    async def storm(self) -> None:
        """Everything at once, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._change_faults())
            group.create_task(self._fork())
            group.create_task(self._crash())

    async def burn(self) -> None:
        """Burn blocks, until cancelled; in calm weather too."""
        chance = random.Random(f"{self._seed}/burn")
        while True:
            await self._devnet.mine_burn_blocks(1)
            self.burn_blocks += 1
            await asyncio.sleep(chance.uniform(*_BURN_SECONDS))

    async def clear(self) -> None:
        """No more faults."""
        await self._count()
        await self._faults.clear()

    async def _change_faults(self) -> None:
        chance = random.Random(f"{self._seed}/faults")
        while True:
            await self._count()
            await self._faults.set(faults_of(chance))
            await asyncio.sleep(chance.uniform(*_CHANGE_SECONDS))

    async def _count(self) -> None:
        state = await self._faults.state()
        self.injected.update(state.injected)
        self.drawn.update(state.drawn)

    async def _fork(self) -> None:
        chance = random.Random(f"{self._seed}/forks")
        while True:
            await asyncio.sleep(chance.uniform(*_FORK_SECONDS))
            wanted, way, burn = chance.randint(1, DEEPEST_FORK), chance.choice(_WAYS), chance.random() < _BURN_FORKS
            depth = await self._allowed(wanted)
            if depth:
                await self._faults.fork(depth, way, burn=burn)
                self.forks[depth] += 1
                self.ways[way] += 1

    async def _allowed(self, depth: int) -> int:
        """The depth, or less where forks upon forks would withdraw what the gateways may have called final."""
        burn_tip = (await self._devnet.clock()).burn_height
        heights = await self._newest_burn_heights(depth)
        return sum(height > burn_tip - FINALITY_BURN_CONFIRMATIONS for height in heights)

    async def _newest_burn_heights(self, blocks: int) -> list[int]:
        """Burn heights of the newest Stacks blocks. The weather meets its own faults: asked until answered."""
        while True:
            try:
                page = await self._devnet.get(f"/extended/v2/blocks?limit={blocks}")
                return [int(block["burn_block_height"]) for block in page["results"]]
            except (DevnetError, aiohttp.ClientError, ValueError):
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _crash(self) -> None:
        chance = random.Random(f"{self._seed}/crashes")
        await asyncio.sleep(chance.uniform(*_CRASH_SECONDS))
        await self._faults.crash_vm()
        self.crashes += 1
