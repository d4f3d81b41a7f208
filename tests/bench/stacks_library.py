"""The process of yardsticks/stacks_transactions.mjs, and the transaction that it and our codec both make."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.devnet.node_program import node_environment, node_executable
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import Buffer, ClarityValue, ContractPrincipal, TupleValue, UInt
from services.chain_gateway.stacks.payload import ContractCall
from services.chain_gateway.stacks.post_condition import FungibleCode, PostConditionMode, StxPostCondition
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import TESTNET, Transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_transaction

_PROGRAM: Final = Path(__file__).with_name("yardsticks") / "stacks_transactions.mjs"
_LINE_LIMIT: Final = 64 * 1024 * 1024
_KEY: Final = "11" * 32 + "01"
SIGNER: Final = KeySigner.from_hex(_KEY)
_DEPLOYER: Final = SIGNER.address(AddressVersion.TESTNET_SINGLE_SIG)
_VAULT: Final = ContractPrincipal(_DEPLOYER, "liquidity-pool-vault")

# A settlement: what the backend signs most dearly. Plain values, of which each side makes its own.
_RECEIPT: Final[Mapping[str, Any]] = {
    "policy_id": "5a" * 16,
    "activation": 1,
    "btc_price_e8": 4_800_000_000_000,
    "stx_price_e8": 100_000_000,
    "observed_at": 1_600_000_000,
    "burn_height": 860_000,
}
_CALL: Final[Mapping[str, Any]] = {
    "key": _KEY,
    "deployer": _DEPLOYER.text,
    "fee": 3_000,
    "onchain_id": 1_234,
    "receipt": _RECEIPT,
    "signature": "a7" * 65,
    "btc_round": 26_400_000,
    "stx_round": 26_400_001,
    "max_payout": 9_000_000,
}


def signed_settlement(nonce: int) -> tuple[bytes, str]:
    """Our way from plain values to the bytes that are broadcast and their txid."""
    receipt: dict[str, ClarityValue] = {
        "policy-id": Buffer(bytes.fromhex(_RECEIPT["policy_id"])),
        "activation": UInt(_RECEIPT["activation"]),
        "btc-price-e8": UInt(_RECEIPT["btc_price_e8"]),
        "stx-price-e8": UInt(_RECEIPT["stx_price_e8"]),
        "observed-at": UInt(_RECEIPT["observed_at"]),
        "burn-height": UInt(_RECEIPT["burn_height"]),
    }
    arguments = (
        UInt(_CALL["onchain_id"]),
        TupleValue(receipt),
        Buffer(bytes.fromhex(_CALL["signature"])),
        UInt(_CALL["btc_round"]),
        UInt(_CALL["stx_round"]),
    )
    transaction = Transaction(
        TESTNET,
        single_sig(SIGNER.public_key, nonce, _CALL["fee"]),
        ContractCall(_DEPLOYER, "policy-registry", "settle-policy", arguments),
        (StxPostCondition(_VAULT, FungibleCode.LESS_OR_EQUAL, _CALL["max_payout"]),),
        PostConditionMode.DENY,
    )
    signed = sign_transaction(transaction, SIGNER)
    return serialize_transaction(signed), signed.txid


@dataclass(frozen=True)
class StacksLibrary:
    """The running process."""

    process: asyncio.subprocess.Process

    async def sign(self, first_nonce: int, count: int) -> tuple[float, str]:
        """Seconds for so many transactions, and the last one in hex."""
        answer = await self._ask({"op": "sign", "call": _CALL, "first_nonce": first_nonce, "count": count})
        return answer["seconds"], answer["raw"]

    async def read(self, raws: list[str]) -> tuple[float, str]:
        """Seconds to decode and verify transactions in hex, and the hash of the last one's account."""
        answer = await self._ask({"op": "read", "raws": raws})
        return answer["seconds"], answer["signer"]

    async def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write((json.dumps(request) + "\n").encode())
        await self.process.stdin.drain()
        return json.loads(await self.process.stdout.readline())


@asynccontextmanager
async def stacks_library() -> AsyncIterator[StacksLibrary]:
    """The library's process for as long as the block."""
    process = await asyncio.create_subprocess_exec(
        node_executable(), str(_PROGRAM), stdin=PIPE, stdout=PIPE, env=node_environment(), limit=_LINE_LIMIT
    )
    try:
        yield StacksLibrary(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
