"""Receipts: what a settlement is decided on. Made once per purpose, from rounds that nobody chose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from kernel.units import Token, pays
from services.oracle import store
from services.oracle import store_receipts as receipts
from services.oracle.burn_blocks import BurnBlock, BurnBlocks
from services.oracle.domain.evidence import LONGEST_EVIDENCE
from services.oracle.domain.prices import Feed, Price, Round, unix_seconds
from services.oracle.domain.twap import LONGEST_WINDOW_SECONDS, Average, expiry_average
from services.oracle.messages import activation_message, expiry_message
from services.oracle.signing import ACTIVATION_RECEIPT, EXPIRY_RECEIPT, OracleSigner
from services.oracle.tables import ReceiptRow

# Of rounds that did not decide: more than an average of rounds a second apart has.


@dataclass(frozen=True)
class ActivationRequest:
    """A recorded activation: policy id (32 hexadecimal digits), its number from 1, height and market time of the
    request, and the terms that say whether a price is in the money."""

    policy_id: str
    activation_number: int
    burn_height: int
    market_time: dt.datetime
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    protected_amount_sats: int
    settlement_token: Token

    def in_the_money(self, btc: Price, stx: Price) -> bool:
        """Whether these prices pay anything."""
        return pays(
            self.settlement_token,
            self.protected_amount_sats,
            self.strike_price_usd_e8,
            self.floor_price_usd_e8,
            btc.price_usd_e8,
            stx.price_usd_e8,
        )


@dataclass(frozen=True)
class ExpiryPreview:
    """What the receipt of an expiration height says or would say; both prices 0 where a person decides."""

    expiration_burn_height: int
    btc_price_usd_e8: int
    stx_price_usd_e8: int


@dataclass(frozen=True)
class FoundReceipt:
    """A receipt with the rounds that it was made from, and those that did not decide."""

    row: ReceiptRow
    used: Mapping[Feed, Sequence[Round]]
    passed: Mapping[Feed, Sequence[Round]]


class Receipts:
    """Makes and finds receipts; any replica may."""

    def __init__(
        self, database: Database, signer: OracleSigner, burn_blocks: BurnBlocks, interval_seconds: int
    ) -> None:
        self._database = database
        self._signer = signer
        self._burn_blocks = burn_blocks
        self._interval_seconds = interval_seconds

    async def for_activation(self, request: ActivationRequest) -> ReceiptRow:
        """The receipt of an activation, from the first OK round of each feed after the request.

        Unavailable until both are there; AlreadyExists if it was made for a request that differs;
        FailedPrecondition if the policy has a receipt in the money for another activation.
        """
        purpose = receipts.activation_purpose(request.policy_id, request.activation_number)
        async with self._database.transaction() as session:
            await receipts.lock_receipts(session, request.policy_id)
            stored = await receipts.receipt(session, purpose)
            if stored is not None:
                return _same_request(stored, request)
            await _check_none_in_the_money(session, request.policy_id)
            btc, stx = [await _first_after(session, feed, request.market_time) for feed in Feed]
            row = self._activation_receipt(purpose, request, btc, stx)
            await receipts.insert_receipt(session, row)
        return row

    def _activation_receipt(self, purpose: str, request: ActivationRequest, btc: Price, stx: Price) -> ReceiptRow:
        observed = max(unix_seconds(time) for time in (btc.observe_time, stx.observe_time) if time is not None)
        message = activation_message(
            request.policy_id,
            request.activation_number,
            btc.price_usd_e8,
            stx.price_usd_e8,
            observed,
            request.burn_height,
        )
        return ReceiptRow(
            purpose=purpose,
            policy_id=request.policy_id,
            activation_number=request.activation_number,
            strike_price_usd_e8=request.strike_price_usd_e8,
            request_market_time=request.market_time,
            in_the_money=request.in_the_money(btc, stx),
            btc_price_usd_e8=btc.price_usd_e8,
            stx_price_usd_e8=stx.price_usd_e8,
            observe_seconds=observed,
            burn_height=request.burn_height,
            btc_rounds=[btc.round],
            stx_rounds=[stx.round],
            signature=self._signer.sign(ACTIVATION_RECEIPT, message),
        )

    async def for_expiry(self, expiration_burn_height: int) -> ReceiptRow:
        """The one receipt of an expiration height, from the average prices before its burn block.

        Unavailable until the block is there and both feeds have reached its time; FailedPrecondition when OK
        rounds cover too little: then a person decides.
        """
        purpose = receipts.expiry_purpose(expiration_burn_height)
        async with self._database.transaction() as session:
            stored = await receipts.receipt(session, purpose)
        if stored is not None:
            return stored
        block = await self._burn_blocks.at_height(expiration_burn_height)
        async with self._database.transaction() as session:
            await receipts.lock_receipts(session, purpose)
            stored = await receipts.receipt(session, purpose)
            if stored is not None:
                return stored
            btc, stx = [await self._average(session, feed, block) for feed in Feed]
            row = self._expiry_receipt(purpose, block, btc, stx)
            await receipts.insert_receipt(session, row)
        return row

    async def preview_expiry(self, expiration_burn_height: int) -> ExpiryPreview:
        """What decides the policies of a height: its receipt, or what that would say if it was made now.

        Unavailable as for the receipt itself.
        """
        async with self._database.reading() as session:
            stored = await receipts.receipt(session, receipts.expiry_purpose(expiration_burn_height))
        if stored is not None:
            return ExpiryPreview(expiration_burn_height, stored.btc_price_usd_e8, stored.stx_price_usd_e8)
        block = await self._burn_blocks.at_height(expiration_burn_height)
        async with self._database.reading() as session:
            btc, stx = [await self._covered_average(session, feed, block) for feed in Feed]
        if btc is None or stx is None:
            return ExpiryPreview(expiration_burn_height, 0, 0)
        return ExpiryPreview(expiration_burn_height, btc.price_usd_e8, stx.price_usd_e8)

    async def _average(self, session: AsyncSession, feed: Feed, block: BurnBlock) -> Average:
        average = await self._covered_average(session, feed, block)
        if average is None:
            raise FailedPrecondition(
                "EXPIRY_NEEDS_A_PERSON",
                f"OK {feed.symbol} rounds cover too little of the two hours before burn block {block.height}",
                burn_height=block.height,
            )
        return average

    async def _covered_average(self, session: AsyncSession, feed: Feed, block: BurnBlock) -> Average | None:
        """None where OK rounds cover too little; Unavailable while the feed has not reached the block."""
        end = unix_seconds(block.time)
        # The round that covers the window's last seconds, so that nothing that comes later can change the average.
        last = -(-end // self._interval_seconds) * self._interval_seconds
        latest = await store.latest_price(session, feed)
        if latest is None or latest.round < last:
            raise Unavailable("WINDOW_INCOMPLETE", f"{feed.symbol} is not aggregated up to the burn block yet")
        prices = await store.prices_between(session, feed, end - LONGEST_WINDOW_SECONDS, last)
        return expiry_average(prices, end, self._interval_seconds)

    def _expiry_receipt(self, purpose: str, block: BurnBlock, btc: Average, stx: Average) -> ReceiptRow:
        observed = unix_seconds(block.time)
        message = expiry_message(block.height, btc.price_usd_e8, stx.price_usd_e8, observed)
        return ReceiptRow(
            purpose=purpose,
            btc_price_usd_e8=btc.price_usd_e8,
            stx_price_usd_e8=stx.price_usd_e8,
            observe_seconds=observed,
            burn_height=block.height,
            btc_rounds=[price.round for price in btc.rounds],
            stx_rounds=[price.round for price in stx.rounds],
            signature=self._signer.sign(EXPIRY_RECEIPT, message),
        )

    async def find(self, purpose: str) -> FoundReceipt:
        """A receipt and its evidence; NotFound if it was never made."""
        async with self._database.reading() as session:
            row = await receipts.receipt(session, purpose)
            if row is None:
                raise NotFound("RECEIPT_NOT_FOUND", f"no receipt for {purpose}")
            chosen = {Feed.BTC_USD: row.btc_rounds, Feed.STX_USD: row.stx_rounds}
            used = {feed: await store.rounds_of(session, feed, numbers) for feed, numbers in chosen.items()}
            passed = {feed: await self._passed(session, row, feed, used[feed]) for feed in Feed}
        return FoundReceipt(row, used, passed)

    async def _passed(
        self, session: AsyncSession, row: ReceiptRow, feed: Feed, used: Sequence[Round]
    ) -> Sequence[Round]:
        """The other rounds of a feed between the request, or the start of the window, and the last one used."""
        if row.request_market_time is not None:
            after, before = unix_seconds(row.request_market_time), used[0].price.round
        else:
            average = expiry_average([one.price for one in used], row.observe_seconds, self._interval_seconds)
            window = LONGEST_WINDOW_SECONDS if average is None else average.window_seconds
            after, before = row.observe_seconds - window, row.observe_seconds + self._interval_seconds
        prices = await store.prices_before(session, feed, after, before, LONGEST_EVIDENCE)
        numbers = {price.round for price in prices} - {one.price.round for one in used}
        return await store.rounds_of(session, feed, sorted(numbers))


def _same_request(stored: ReceiptRow, request: ActivationRequest) -> ReceiptRow:
    if (stored.burn_height, stored.strike_price_usd_e8, stored.request_market_time) != (
        request.burn_height,
        request.strike_price_usd_e8,
        request.market_time,
    ):
        raise AlreadyExists("RECEIPT_EXISTS", "the activation has a receipt for a request that differs")
    return stored


async def _check_none_in_the_money(session: AsyncSession, policy_id: str) -> None:
    binding = await receipts.receipt_in_the_money(session, policy_id)
    if binding is not None:
        raise FailedPrecondition(
            "RECEIPT_IN_THE_MONEY",
            "the policy has a receipt in the money and is settled on that alone",
            activation_number=binding.activation_number,
        )


async def _first_after(session: AsyncSession, feed: Feed, time: dt.datetime) -> Price:
    price = await store.first_ok_price_after(session, feed, time)
    if price is None:
        raise Unavailable("NO_ROUND_YET", f"no OK {feed.symbol} round was observed after the request yet")
    return price
