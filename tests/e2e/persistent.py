"""The node's callers of the tests, when the node itself is killed: nothing is done twice, nothing is given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import aiohttp

from deploy.devnet.driver import Clock, DevnetClient, DevnetError
from deploy.wallet.driver import SignedTransaction, TransactionRejected, Wallet, WalletError

_PAUSE_SECONDS: Final = 0.2
_STARTING: Final = ": 503 "
AnswerT = TypeVar("AnswerT")


async def _repeat(ask: Callable[[], Awaitable[AnswerT]], seconds: float) -> AnswerT:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await ask()
        except TransactionRejected:
            raise
        except (aiohttp.ClientError, ConnectionError, WalletError):
            if time.monotonic() > deadline:
                raise
        except DevnetError as error:
            if _STARTING not in str(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


class PersistentDevnet(DevnetClient):
    """Reads are repeated; a burn block is mined once, however often the answer is lost."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url)
        self._seconds = seconds

    async def mine_burn_blocks(self, count: int = 1) -> Clock:
        """Mines until the height is reached at which these blocks end."""
        height = (await self.clock()).burn_height + count

        async def mine() -> Clock:
            clock = await self.clock()
            left = height - clock.burn_height
            return await super(PersistentDevnet, self).mine_burn_blocks(left) if left > 0 else clock

        return await _repeat(mine, self._seconds)

    async def request(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """The JSON answer; a read is repeated until there is one."""
        if method != "GET":
            return await super().request(method, path, body)
        return await _repeat(lambda: super(PersistentDevnet, self).request(method, path, body), self._seconds)


class PersistentWallet(Wallet):
    """Signing is repeated while nothing was sent; the same bytes are sent until the node has them."""

    def __init__(self, devnet: PersistentDevnet, seconds: float) -> None:
        super().__init__(devnet.url)
        self._devnet = devnet
        self._seconds = seconds

    async def call(
        self, seed: str, contract: str, function: str, args: Sequence[str] = (), **common: Any
    ) -> SignedTransaction:
        """A signed contract call."""
        ask = super().call
        return await _repeat(lambda: ask(seed, contract, function, args, **common), self._seconds)

    async def broadcast(self, raw: str) -> str:
        """The txid, also where the node refuses what it took before its answer was lost."""
        ask = super().broadcast
        try:
            return await _repeat(lambda: ask(raw), self._seconds)
        except TransactionRejected as error:
            txid = str(error.rejection.get("txid", ""))
            if not txid:
                raise
            known = await self._devnet.get(f"/extended/v1/tx/multiple?tx_id={txid}")
            if not any(one["found"] for one in known.values()):
                raise
            return txid
