"""Compares the price on chain with ours, all the time: shown as metrics, logged when a doubt comes or goes."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc

from kernel.database import Database
from kernel.errors import BitHedgeError, NotFound
from kernel.log import get_logger
from kernel.rpc.channels import remote_errors
from kernel.rpc.tip import TipFollower
from services.oracle import store
from services.oracle.convert import feed_message
from services.oracle.domain.onchain import OnchainDoubt, OnchainPrice, OnchainRules, OnchainView, compare
from services.oracle.domain.prices import Feed, unix_seconds
from services.oracle.metrics import record_onchain

_CHECK_SECONDS: Final = 5.0


class OnchainCheck:
    """Each replica looks for itself; `run` is the background task."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel, tip: TipFollower, rules: OnchainRules) -> None:
        self._database = database
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._tip = tip
        self._rules = rules
        self._doubts: dict[Feed, frozenset[OnchainDoubt]] = {}

    async def run(self) -> None:
        """Compares every few seconds, until cancelled."""
        while True:
            for feed in Feed:
                try:
                    await self.check(feed)
                except NotFound:
                    # Nothing was published yet.
                    continue
                except BitHedgeError as error:
                    get_logger().warning("price on chain not compared", feed=feed.symbol, reason=error.reason)
            await asyncio.sleep(_CHECK_SECONDS)

    async def check(self, feed: Feed) -> OnchainView:
        """One comparison. NotFound before the first publication, Unavailable without gateway or market time."""
        now = unix_seconds(self._tip.now())
        with remote_errors():
            request = gateway_pb2.GetPublishedPriceRequest(feed=feed_message(feed))
            published = (await self._stub.GetPublishedPrice(request)).round
        if not published.round:
            raise NotFound("NOTHING_PUBLISHED", f"no {feed.symbol} round is on chain")
        chain = OnchainPrice(published.round, published.price_usd_e8, published.observe_time.seconds)
        async with self._database.reading() as session:
            same = await store.round_with_observations(session, feed, chain.round)
            newest = await store.latest_ok_price(session, feed)
        view = compare(chain, None if same is None else same.price, newest, now, self._rules)
        self._tell(feed, chain, view)
        return view

    def _tell(self, feed: Feed, chain: OnchainPrice, view: OnchainView) -> None:
        before = self._doubts.get(feed, frozenset())
        record_onchain(feed, view, view.doubts - before)
        self._doubts[feed] = view.doubts
        for doubt in sorted(view.doubts - before):
            get_logger().error(
                "price on chain in doubt",
                feed=feed.symbol,
                doubt=str(doubt),
                round=chain.round,
                difference_bps=view.difference_bps,
                age_seconds=view.age_seconds,
            )
        for doubt in sorted(before - view.doubts):
            get_logger().info("price on chain no longer in doubt", feed=feed.symbol, doubt=str(doubt))
