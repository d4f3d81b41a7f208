"""What the devnet tests share: transactions signed by the outside wallet and followed to a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.chain_gateway.stacks.clarity import ClarityValue, UInt, from_hex, parse_principal, to_hex
from tests.devnet import Devnet, running_devnet
from tests.wallet import SignedTransaction, Wallet

SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
TINY = """
(define-data-var total uint u0)
(define-read-only (get-total) (var-get total))
(define-public (add (amount uint))
  (begin
    (var-set total (+ (var-get total) amount))
    (print { topic: "added", amount: amount, sender: tx-sender, caller: contract-caller })
    (asserts! (< amount u100) (err u7))
    (ok (var-get total))))
(define-public (divide (by uint)) (begin (var-set total u1) (ok (/ u10 by))))
(define-public (pay (amount uint))
  (begin (var-set total (+ (var-get total) amount)) (stx-transfer? amount tx-sender current-contract)))
"""


@dataclass(frozen=True)
class Chain:
    """A devnet and the wallet that signs for it."""

    devnet: Devnet
    wallet: Wallet

    async def fund(self, seed: str, ustx: int = 1_000_000_000) -> str:
        """Gives a seed's account STX from the faucet; gives its address."""
        address = (await self.wallet.address(seed)).address
        await self.mined(await self.devnet.faucet_stx(address, ustx))
        return address

    async def mined(self, txid: str) -> dict[str, Any]:
        """Mines what waits and gives the transaction."""
        await self.devnet.mine_block()
        return await self.devnet.wait_for(txid)

    async def send(self, transaction: SignedTransaction) -> dict[str, Any]:
        """Broadcasts, mines, and gives the transaction."""
        return await self.mined(await self.wallet.broadcast(transaction.raw))

    async def deploy_tiny(self, seed: str) -> str:
        """Funds a seed's account, has it deploy the contract above, and gives the contract's name."""
        address = await self.fund(seed)
        deployed = await self.send(await self.wallet.deploy(seed, "tiny", TINY))
        assert deployed["tx_status"] == "success"
        return f"{address}.tiny"

    async def call(self, seed: str, contract: str, function: str, *args: ClarityValue, **common: Any) -> Any:
        """A call of the contract by the seed's account, once it is mined."""
        hexes = [to_hex(value) for value in args]
        return await self.send(await self.wallet.call(seed, contract, function, hexes, **common))

    async def balance(self, address: str) -> int:
        """uSTX, as the node says."""
        return int((await self.devnet.get(f"/v2/accounts/{address}?proof=0"))["balance"], 16)

    async def nonce(self, address: str) -> int:
        """The next nonce, as the node says."""
        return int((await self.devnet.get(f"/v2/accounts/{address}?proof=0"))["nonce"])

    async def read(self, contract: str, function: str, *args: ClarityValue) -> ClarityValue:
        """A read-only function's value, by the node's call-read."""
        address, name = contract.split(".")
        body = {"sender": address, "arguments": [to_hex(value) for value in args]}
        answer = await self.devnet.post(f"/v2/contracts/call-read/{address}/{name}/{function}", body)
        assert answer["okay"], answer
        return from_hex(answer["result"])

    async def total(self, contract: str) -> int:
        """The counter of the contract above."""
        value = await self.read(contract, "get-total")
        assert isinstance(value, UInt)
        return value.value

    async def sbtc_balance(self, owner: str) -> ClarityValue:
        """The sBTC token's answer for an owner."""
        return await self.read(SBTC, "get-balance", parse_principal(owner))


@asynccontextmanager
async def running_chain(state_folder: Path, **settings: Any) -> AsyncIterator[Chain]:
    """A devnet that mines on demand only, unless told otherwise, and a wallet."""
    chosen = {"block_interval_ms": 0, **settings}
    async with running_devnet(state_folder, **chosen) as devnet, Wallet(devnet.url) as wallet:
        yield Chain(devnet, wallet)
