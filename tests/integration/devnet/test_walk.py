"""A random walk over all that changes the chain, and the log read again afterwards."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.devnet.faults import Fate, FaultDriver
from tests.integration.devnet.chain import Chain, running_chain
from tests.integration.devnet.test_restart import snapshot

SEEDS: Final = ("walker", "runner", "rider")
FEE: Final = 1_000
FATES: Final[tuple[Fate, ...]] = ("return", "lose", "shuffle")
STEPS: Final = 60


class Walk:
    """Steps drawn from a seed; nonces are asked, so that what a fork lost is filled again."""

    def __init__(self, chain: Chain, contract: str, addresses: dict[str, str], seed: int) -> None:
        self.chain, self.contract, self.addresses = chain, contract, addresses
        self.faults = FaultDriver(chain.devnet)
        self.choices = random.Random(seed)

    async def step(self) -> None:
        """One step: mostly transactions."""
        kind = self.choices.choice(["send"] * 6 + ["mine"] * 3 + ["burn", "advance", "fork", "fork", "crash"])
        await getattr(self, f"_{kind}")()

    async def _send(self) -> None:
        seed = self.choices.choice(SEEDS)
        nonces = await self.chain.devnet.get(f"/extended/v1/address/{self.addresses[seed]}/nonces")
        missing = nonces["detected_missing_nonces"]
        nonce = missing[-1] if missing else nonces["possible_next_nonce"]
        function, amount = self.choices.choice([("add", 1), ("add", 100), ("pay", 7)])
        args = [f"01{amount:032x}"]
        signed = await self.chain.wallet.call(seed, self.contract, function, args, nonce=nonce, fee=FEE)
        await self.chain.wallet.broadcast(signed.raw)

    async def _mine(self) -> None:
        await self.chain.devnet.mine_block()

    async def _burn(self) -> None:
        await self.chain.devnet.mine_burn_blocks(self.choices.randrange(1, 4))

    async def _advance(self) -> None:
        await self.chain.devnet.advance(self.choices.randrange(1_500))

    async def _fork(self) -> None:
        deepest = (await self.faults.branch()).forkable
        if deepest > 0:
            depth = self.choices.randrange(1, min(deepest, 8) + 1)
            await self.faults.fork(depth, self.choices.choice(FATES), burn=self.choices.random() < 0.5)

    async def _crash(self) -> None:
        await self.faults.crash_vm()


async def mined(chain: Chain) -> list[dict[str, Any]]:
    """All transactions of the canonical chain, block by block; the blocks hang together."""
    found: list[dict[str, Any]] = []
    parent = None
    for height in range(1, (await chain.devnet.get("/extended/v2/blocks/latest"))["height"] + 1):
        block = await chain.devnet.get(f"/extended/v2/blocks/{height}")
        assert parent in (None, block["parent_block_hash"])
        parent = block["hash"]
        found += (await chain.devnet.get(f"/extended/v2/blocks/{parent}/transactions?limit=50"))["results"]
    return found


async def check_sums(chain: Chain, contract: str, addresses: dict[str, str]) -> None:
    """The contract's counter and the accounts' nonces are what the canonical chain's transactions make them."""
    await chain.devnet.mine_block()
    transactions = await mined(chain)
    calls = [one["contract_call"] for one in transactions if one["tx_status"] == "success" and "contract_call" in one]
    added = [int(call["function_args"][0]["repr"][1:]) for call in calls if call["contract_id"] == contract]
    assert await chain.total(contract) == sum(added)
    for address in addresses.values():
        assert await chain.nonce(address) == sum(one["sender_address"] == address for one in transactions)


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_walk_is_replayed_to_the_same_state(tmp_path: Path, seed: int) -> None:
    """Blocks, balances, nonces, clock and the contract's own state follow from the chain, and come out of the log."""
    async with running_chain(tmp_path) as chain:
        addresses = {name: await chain.fund(name) for name in SEEDS}
        contract = await chain.deploy_tiny(SEEDS[0])
        walk = Walk(chain, contract, addresses, seed)
        for _ in range(STEPS):
            await walk.step()
        await check_sums(chain, contract, addresses)
        before = await snapshot(chain.devnet, contract, *addresses.values())
    async with running_chain(tmp_path) as chain:
        assert await snapshot(chain.devnet, contract, *addresses.values()) == before
        await check_sums(chain, contract, addresses)
