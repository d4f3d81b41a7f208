"""The price on chain beside ours: a round that is not ours, one far from ours, one too old; told once each."""

from __future__ import annotations

import prometheus_client
import pytest
from bithedge.type.v1 import price_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import NotFound
from kernel.rpc.channels import open_channel
from kernel.rpc.tip import TipFollower
from services.oracle.domain.onchain import OnchainDoubt, OnchainRules
from services.oracle.domain.prices import Feed
from services.oracle.onchain import OnchainCheck
from tests.bench.background import running
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import BTC, START, USD, ScriptedPrices, StaticTokens, running_oracle

FIRST = int(START.timestamp())


def _count(doubt: OnchainDoubt) -> float:
    labels = {"feed": "BTC_USD", "doubt": str(doubt)}
    return prometheus_client.REGISTRY.get_sample_value("bithedge_oracle_onchain_doubts_total", labels) or 0


async def test_the_price_on_chain_is_compared_with_ours(database_url: str) -> None:
    """Our own round as it is, no doubt; another price under its number or a number of none of ours, NOT_OURS; 2% and
    more away, APART; half an hour old, OLD. The distance is shown, and a doubt that stays is counted once."""
    gateway = GatewayStandIn(START)
    server, address = await serve_gateway(gateway)
    source = ScriptedPrices()
    channel = open_channel(address, StaticTokens())
    tip = TipFollower(channel)
    async with running(tip.follow()), running_oracle(database_url, gateway, address, source) as oracle:
        await oracle.wait_for_round()
        check = OnchainCheck(oracle.database, channel, tip, OnchainRules())
        with pytest.raises(NotFound):
            await check.check(Feed.BTC_USD)
        counted = {doubt: _count(doubt) for doubt in OnchainDoubt}
        seen = []
        for number, usd in ((FIRST, 8_000), (FIRST, 8_001), (FIRST, 8_001), (FIRST + 1, 8_000), (FIRST, 8_000)):
            gateway.published[BTC] = _published(number, usd)
            seen.append(await check.check(Feed.BTC_USD))
        source.prices[Feed.BTC_USD] = 7_800 * USD
        await oracle.advance(60)
        seen.append(await check.check(Feed.BTC_USD))
        await oracle.advance(1_800)
        seen.append(await check.check(Feed.BTC_USD))
    await channel.close()
    await server.stop(None)
    not_ours, apart, old = OnchainDoubt.NOT_OURS, OnchainDoubt.APART, OnchainDoubt.OLD
    assert [set(view.doubts) for view in seen] == [
        set(),
        {not_ours},
        {not_ours},
        {not_ours},
        set(),
        {apart},
        {apart, old},
    ]
    assert [view.difference_bps for view in seen] == [0, 2, 2, 0, 0, 257, 257]
    assert {doubt: _count(doubt) - counted[doubt] for doubt in OnchainDoubt} == {not_ours: 1, apart: 1, old: 1}


def _published(number: int, usd: int) -> price_pb2.PriceRound:
    return price_pb2.PriceRound(
        feed=BTC, round=number, price_usd_e8=usd * USD, observe_time=Timestamp(seconds=FIRST - 2)
    )
