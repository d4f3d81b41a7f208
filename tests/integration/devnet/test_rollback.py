"""The VM's state after many transactions, some undone, compared with what they ought to have done."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import psutil

from services.chain_gateway.stacks.clarity import UInt
from tests.integration.devnet.chain import Chain, running_chain

SEEDS = [f"holder {number}" for number in range(16)]
FEE = 1_000
START_USTX = 1_000_000_000
# Eight million additions: longer than any test waits between two looks.
SLOW = f"""
(define-constant items (list {"u1 " * 200}))
(define-private (inner (item uint) (sum uint)) (+ sum item))
(define-private (middle (item uint) (sum uint)) (fold inner items sum))
(define-private (outer (item uint) (sum uint)) (fold middle items sum))
(define-public (spin) (ok (fold outer items u0)))
"""


async def send_random(chain: Chain, contract: str, seed: str, nonce: int, kind: str, amount: int) -> str:
    """Broadcasts one transaction of a kind; gives its txid."""
    common = {"nonce": nonce, "fee": FEE, "post_condition_mode": "allow" if kind == "allowed" else "deny"}
    if kind == "transfer":
        signed = await chain.wallet.transfer(seed, contract, amount, **common)
    else:
        function = "add" if kind == "add" else "pay"
        signed = await chain.wallet.call(seed, contract, function, [f"01{amount:032x}"], **common)
    return await chain.wallet.broadcast(signed.raw)


async def test_undone_transactions_leave_nothing_but_their_fees(tmp_path: Path) -> None:
    """Over hundreds of mixed transactions, every balance and the contract's counter are those of a plain model."""
    choices = random.Random(7)
    async with running_chain(tmp_path) as chain:
        contract = await chain.deploy_tiny("owner")
        owners = [await chain.fund(seed, START_USTX) for seed in SEEDS]
        total, held, balances = 0, 0, [START_USTX] * len(SEEDS)
        for nonce in range(18):
            for index, seed in enumerate(SEEDS):
                kind = choices.choice(["add", "violating", "violating", "allowed", "transfer"])
                amount = choices.randrange(1, 99)
                await send_random(chain, contract, seed, nonce, kind, amount)
                balances[index] -= FEE + (amount if kind in ("allowed", "transfer") else 0)
                held += amount if kind in ("allowed", "transfer") else 0
                total += amount if kind in ("allowed", "add") else 0
            if choices.random() < 0.3:
                await chain.devnet.mine_burn_blocks(1)
        await chain.devnet.mine_block()
        assert [await chain.balance(owner) for owner in owners] == balances
        assert (await chain.total(contract), await chain.balance(contract)) == (total, held)
        await chain.call("owner", contract, "add", UInt(1))
        assert await chain.total(contract) == total + 1


async def test_transaction_that_the_vm_dies_of_is_left_out(tmp_path: Path) -> None:
    """When the VM ends again and again on one transaction, that one is dropped for good and the chain goes on."""
    async with running_chain(tmp_path, block_interval_ms=10) as chain:
        contract = await chain.deploy_tiny("deadly")
        address = contract.split(".")[0]
        await chain.send(await chain.wallet.deploy("deadly", "slow", SLOW))
        txid = await chain.wallet.broadcast((await chain.wallet.call("deadly", f"{address}.slow", "spin")).raw)
        await kill_while_pending(chain, txid)
        dropped = await chain.devnet.get(f"/extended/v1/tx/{txid}")
        assert dropped["tx_status"] == "dropped_problematic"
        called = await chain.call("deadly", contract, "add", UInt(1))
        assert called["tx_result"]["repr"] == "(ok u1)"
        tip = await chain.devnet.get("/extended/v2/blocks/latest")
    async with running_chain(tmp_path) as chain:
        assert await chain.devnet.get("/extended/v2/blocks/latest") == tip


async def kill_while_pending(chain: Chain, txid: str) -> None:
    """Kills the VM whenever it has worked on the transaction for a while."""
    async with asyncio.timeout(60):
        while (await chain.devnet.get(f"/extended/v1/tx/{txid}"))["tx_status"] == "pending":
            await asyncio.sleep(0.05)
            for process in psutil.Process(chain.devnet.pid).children():
                # Starting takes well under a second of CPU time; what comes after is the transaction.
                if sum(process.cpu_times()[:2]) > 1.8:
                    process.kill()
