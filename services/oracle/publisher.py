"""Which rounds go on chain: decided under the feed's lock, stored before they are signed, started once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel import outbox
from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import BitHedgeError, FailedPrecondition, NotFound, Unavailable
from kernel.lease import LeaderLease
from services.oracle import store, tables
from services.oracle import store_publications as publications
from services.oracle.domain.prices import Feed, Price
from services.oracle.domain.publication import (
    PublicationCause,
    PublicationRules,
    PublicationState,
    nearest,
    publication_cause,
)
from services.oracle.messages import round_message
from services.oracle.metrics import PUBLICATION_PENDING
from services.oracle.signing import PRICE_ROUND, OracleSigner
from services.oracle.tables import PublicationRow
from workflows.contract import PublishPriceInput, start_publish_price


class Publisher:
    """Publications of both feeds. `decide` is the leader's; the rest serves calls, under the feed's lock."""

    def __init__(self, database: Database, lease: LeaderLease, signer: OracleSigner, rules: PublicationRules) -> None:
        self._database = database
        self._lease = lease
        self._signer = signer
        self._rules = rules

    async def decide(self, now: dt.datetime) -> None:
        """After the aggregation of market time `now`: publishes the newest round of each feed if it is due and the
        slot is free."""
        for feed in Feed:
            async with self._database.transaction() as session:
                await self._lease.check(session)
                await publications.lock_feed(session, feed)
                await self._decide(session, feed, now)
        await self.finish()

    async def _decide(self, session: AsyncSession, feed: Feed, now: dt.datetime) -> None:
        pending = await publications.pending_publication(session, feed)
        PUBLICATION_PENDING.labels(feed.name).set(pending is not None)
        newest = await store.latest_price(session, feed)
        if pending is not None or newest is None:
            return
        last = await publications.last_confirmed(session, feed)
        cause = publication_cause(newest, last, now, self._rules)
        if cause is not None and await publications.publication(session, feed, newest.round) is None:
            await publications.insert_publication(session, newest, cause)

    async def finish(self) -> None:
        """Signs what was decided and starts its workflow; also what a replica left behind when it died."""
        async with self._database.transaction() as session:
            for row in await publications.unsigned_publications(session):
                row.signature = self.signature_of(publications.price_of(row))
                session.add(row)
                feed = Feed(row.feed)
                start = start_publish_price(feed.name, PublishPriceInput(feed.value, row.round))
                await outbox.post(session, tables.Outbox, "start", start.workflow_id, start.payload())

    async def ensure(self, burn_height: int, receipt_prices: Mapping[Feed, int]) -> Mapping[Feed, int]:
        """The number of a confirmed round of each feed that fits a receipt of this height and these prices.

        A price of 0 fits every round; for STX/USD, which a policy settled in sBTC does not need, the number is then 0
        if none is left to publish. Unavailable while one is on its way (it is started if need be, both feeds at
        once) or the chain has not come near yet; FailedPrecondition when no fitting OK round is left to publish.
        """
        numbers: dict[Feed, int] = {}
        refusals: list[BitHedgeError] = []
        for feed in Feed:
            outcome = await self._ensure(feed, burn_height, receipt_prices[feed])
            if isinstance(outcome, FailedPrecondition) and feed is Feed.STX_USD and receipt_prices[feed] == 0:
                outcome = 0
            if isinstance(outcome, BitHedgeError):
                refusals.append(outcome)
            else:
                numbers[feed] = outcome
        if refusals:
            await self.finish()
            raise next((one for one in refusals if isinstance(one, FailedPrecondition)), refusals[0])
        return numbers

    async def _ensure(self, feed: Feed, burn_height: int, receipt_price: int) -> int | BitHedgeError:
        """The confirmed round, or what to answer instead."""
        distance = self._rules.round_distance_blocks
        async with self._database.transaction() as session:
            await publications.lock_feed(session, feed)
            tried = await publications.publications_near(session, feed, burn_height, distance)
            confirmed = [publications.price_of(row) for row in tried if row.state == PublicationState.CONFIRMED]
            found = nearest(confirmed, burn_height, receipt_price, self._rules)
            if found is not None:
                return found.round
            if await publications.pending_publication(session, feed) is None:
                without = [row.round for row in tried]
                prices = await store.ok_prices_near(session, feed, burn_height, distance, without)
                price = nearest(prices, burn_height, receipt_price, self._rules)
                if price is None:
                    return await self._why_none(session, feed, burn_height)
                await publications.insert_publication(session, price, PublicationCause.REQUESTED)
        return Unavailable("PUBLICATION_IN_FLIGHT", f"a {feed.symbol} round is being published")

    async def _why_none(self, session: AsyncSession, feed: Feed, burn_height: int) -> BitHedgeError:
        newest = await store.latest_price(session, feed)
        if newest is None or newest.burn_height <= burn_height + self._rules.round_distance_blocks:
            return Unavailable("NO_ROUND_YET", f"no fitting {feed.symbol} round near burn height {burn_height} yet")
        return FailedPrecondition(
            "NO_ROUND_NEAR", f"no fitting {feed.symbol} round near burn height {burn_height} is left to publish"
        )

    def signature_of(self, price: Price) -> bytes:
        """The oracle's signature of a stored OK round; the same whenever it is asked for."""
        return self._signer.sign(PRICE_ROUND, round_message(price))

    @property
    def signed_for(self) -> tuple[str, int]:
        """Address of the deployer and id of the chain that every signature is for."""
        return self._signer.deployer.text, self._signer.chain_id

    async def signed(self, feed: Feed, number: int) -> tuple[Price, bytes]:
        """A publication with its signature; NotFound if there is none, Unavailable while it is not signed."""
        row = await self._find(feed, number)
        if row.signature is None:
            raise Unavailable("NOT_SIGNED_YET", f"round {number} is not signed yet")
        return publications.price_of(row), row.signature

    async def _find(self, feed: Feed, number: int) -> PublicationRow:
        async with self._database.transaction() as session:
            row = await publications.publication(session, feed, number)
        if row is None:
            raise NotFound("PUBLICATION_NOT_FOUND", f"{feed.symbol} round {number} was never to be published")
        return row

    async def record(
        self, feed: Feed, number: int, state: PublicationState, txid: str, reason: str, now: dt.datetime
    ) -> None:
        """Ends a publication and frees the slot, at once for the one due at market time `now`; the same end again
        changes nothing.

        NotFound for an unknown one, FailedPrecondition for an end that contradicts the recorded one.
        """
        await self._find(feed, number)
        async with self._database.transaction() as session:
            await publications.lock_feed(session, feed)
            row = await publications.publication(session, feed, number)
            if row is None or row.state == state:
                return
            if row.state != PublicationState.PENDING:
                raise FailedPrecondition("PUBLICATION_ENDED", f"the publication has ended {row.state}", state=row.state)
            row.state, row.txid, row.reason, row.end_time = str(state), txid, reason, wall_now()
            session.add(row)
            await session.flush()
            # Not only after the next aggregation: a price that moved while this one was on its way is due now.
            await self._decide(session, feed, now)
        await self.finish()
