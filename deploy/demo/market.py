"""Market time of the demo: a burn block at a time, and nothing moves on before every part has followed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb2
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import price_pb2

from deploy.demo.people import Services
from deploy.devnet.driver import DevnetClient
from kernel.errors import BitHedgeError, Unavailable
from kernel.rpc.channels import remote_errors

FEEDS: Final = (price_pb2.FEED_BTC_USD, price_pb2.FEED_STX_USD)
_POLL_SECONDS: Final = 0.03
# One observation interval, so that the newest aggregate belongs to the block just mined.
_PRICE_LAG_SECONDS: Final = 90
# A publication is due every ten market minutes and is mined with the next block at the latest.
_PUBLISHED_LAG_BLOCKS: Final = 1


class DemoError(Exception):
    """Something that the demo asserts does not hold."""


@dataclass(frozen=True)
class Patience:
    """How long the demo waits: wall seconds for one thing, and how many times the burn blocks that it should take.

    `pauses`: how many times longer a block waits for a workflow; the fall of the price does not wait for it.
    """

    seconds: float = 30.0
    blocks: int = 1
    pauses: int = 1


_PATIENCE: Final = Patience()


@dataclass(frozen=True)
class Moment:
    """Where the market stands. Prices are USD with 8 decimals."""

    burn_height: int
    market_time: str
    btc_price_usd_e8: int
    stx_price_usd_e8: int


class Market:
    """Steps the devnet and waits; `after_block` runs after every burn block that all parts have followed."""

    def __init__(
        self,
        devnet: DevnetClient,
        operator: Services,
        oracle: Any,
        after_block: Callable[[Moment], Awaitable[None]],
        patience: Patience = _PATIENCE,
    ) -> None:
        self._devnet = devnet
        self._operator = operator
        self._oracle = oracle
        self._after_block = after_block
        self.patience = patience
        self.blocks = 0

    async def step(self) -> Moment:
        """Mines one burn block, ten market minutes, and waits until it is followed everywhere."""
        clock = await self._devnet.mine_burn_blocks(1)
        await self.eventually(
            lambda: self._followed(clock.burn_height, clock.market_time), "the parts follow a burn block"
        )
        moment = await self.moment()
        await self._after_block(moment)
        self.blocks += 1
        return moment

    async def step_until(
        self, condition: Callable[[], Awaitable[bool]], blocks: int, what: str, pause_seconds: float = 0.0
    ) -> Moment:
        """Steps until the condition holds; DemoError after so many blocks, times the patience.

        `pause_seconds`: how long a block waits for a workflow, which lives in wall time, before the next is mined.
        """
        blocks *= self.patience.blocks
        pause_seconds *= self.patience.pauses
        moment = await self.moment()
        for _ in range(blocks):
            if await _holds(condition, pause_seconds):
                return moment
            moment = await self.step()
        if await _holds(condition, pause_seconds):
            return moment
        raise DemoError(f"not after {blocks} burn blocks: {what}")

    async def eventually(self, condition: Callable[[], Awaitable[Any]], what: str) -> Any:
        """The first truthy answer of the condition; DemoError when patience has ended."""
        return await eventually(condition, what, self.patience.seconds)

    async def moment(self) -> Moment:
        """Tip and prices now."""
        with remote_errors():
            tip = (await self._operator.gateway.GetTip(gateway_pb2.GetTipRequest())).tip
            btc, stx = [(await self._oracle.GetPrice(oracle_pb2.GetPriceRequest(feed=feed))).price for feed in FEEDS]
        time = tip.market_time.ToJsonString()[:16].replace("T", " ")
        return Moment(tip.burn_height, time, btc.price_usd_e8, stx.price_usd_e8)

    async def _followed(self, burn_height: int, market_time: float) -> bool:
        """Raises Unavailable naming who is behind."""
        tip = (await self._operator.gateway.GetTip(gateway_pb2.GetTipRequest())).tip
        if tip.burn_height < burn_height or tip.market_time.seconds < int(market_time):
            raise Unavailable("BEHIND", f"the gateway is at burn block {tip.burn_height}, not {burn_height}")
        await asyncio.gather(self._priced(market_time), self._published(burn_height), self._projected(tip))
        return True

    async def _priced(self, market_time: float) -> None:
        for feed in FEEDS:
            price = (await self._oracle.GetPrice(oracle_pb2.GetPriceRequest(feed=feed))).price
            if price.observe_time.seconds < market_time - _PRICE_LAG_SECONDS:
                raise Unavailable("BEHIND", f"the price is of {price.observe_time.ToJsonString()}: {price.reason}")

    async def _published(self, burn_height: int) -> None:
        for feed in FEEDS:
            request = gateway_pb2.GetPublishedPriceRequest(feed=feed)
            round_ = (await self._operator.gateway.GetPublishedPrice(request)).round
            if round_.burn_height < burn_height - _PUBLISHED_LAG_BLOCKS:
                raise Unavailable("BEHIND", f"the published price is of burn block {round_.burn_height}")
        if held := (await self._devnet.clock()).held:
            raise Unavailable("BEHIND", f"the devnet holds its clock: {', '.join(held)}")

    async def _projected(self, tip: gateway_pb2.Tip) -> None:
        pool = await self._operator.pool.GetPoolStatement(pool_pb2.GetPoolStatementRequest())
        policies = await self._operator.policy.ListPolicyTotals(policy_pb2.ListPolicyTotalsRequest(page_size=1))
        for name, height in (("pool", pool.projected_burn_height), ("policies", policies.projected_burn_height)):
            if height < tip.final_burn_height:
                raise Unavailable("BEHIND", f"the {name} have followed to burn block {height}")


async def _holds(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether the condition holds now or within the time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def eventually(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = _PATIENCE.seconds) -> Any:
    """The first truthy answer of the condition; DemoError, with the last error, after the time."""
    last = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    with remote_errors():
                        answer = await condition()
                    if answer:
                        return answer
                except BitHedgeError as error:
                    last = f": {error.reason} {error.message}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise DemoError(f"not within {seconds:.0f} s: {what}{last}") from error
