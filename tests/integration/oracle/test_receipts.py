"""Receipts: from the first round after the request, once per purpose, one in the money per policy; averages at
expiry."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import grpc
import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2

from kernel.rpc.caller import Role
from services.chain_gateway.stacks.clarity import Buffer, ClarityValue, TupleValue, UInt, parse_principal
from services.chain_gateway.stacks.messages import recover_structured, structured_domain
from services.oracle.domain.prices import Feed
from tests.integration.oracle.harness import (
    CHAIN_ID,
    DEPLOYER,
    START,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    oracle_at,
)
from tests.tokens import metadata

POLICY = "policies/" + "0190" * 8
FIRST = int(START.timestamp())


async def _activation(oracle: Oracle, number: int = 1, **changes: Any) -> price_pb2.SettlementReceipt:
    fields: dict[str, Any] = {
        "policy": POLICY,
        "activation_number": number,
        "request_burn_height": oracle.gateway.burn_height,
        "strike_price_usd_e8": 8_500 * USD,
        "floor_price_usd_e8": 4_000 * USD,
        "protected_amount_sats": 10_000_000,
        "settlement_token": money_pb2.TOKEN_SBTC,
        "request_market_time": START,
    }
    request = pb.CreateActivationReceiptRequest(**(fields | changes))
    answer = await oracle.stub.CreateActivationReceipt(request, metadata=WORKFLOWS)
    receipt: price_pb2.SettlementReceipt = answer.receipt
    return receipt


async def _expiry(oracle: Oracle, height: int) -> price_pb2.SettlementReceipt:
    request = pb.CreateExpiryReceiptRequest(expiration_burn_height=height)
    answer = await oracle.stub.CreateExpiryReceipt(request, metadata=WORKFLOWS)
    receipt: price_pb2.SettlementReceipt = answer.receipt
    return receipt


async def _preview(oracle: Oracle, *heights: int) -> list[tuple[int, int]]:
    request = pb.PreviewExpiryReceiptsRequest(expiration_burn_heights=heights)
    answer = await oracle.stub.PreviewExpiryReceipts(request, metadata=WORKFLOWS)
    assert [one.expiration_burn_height for one in answer.previews] == list(heights)
    return [(one.btc_price_usd_e8, one.stx_price_usd_e8) for one in answer.previews]


async def _refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    code: grpc.StatusCode = refused.value.code()
    return code


def _signer(kind: str, message: dict[str, ClarityValue], signature: bytes) -> bytes:
    domain = structured_domain(kind, CHAIN_ID, parse_principal(f"{DEPLOYER}.policy-registry"))
    return recover_structured(domain, TupleValue(message), signature)


async def test_an_activation_is_decided_by_the_first_round_after_it(database_url: str) -> None:
    """UNAVAILABLE until a round whose every observation is later than the request; then that round's prices, though
    the price has moved on since; signed for the registry and public."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        height = oracle.gateway.burn_height
        requested = START + dt.timedelta(seconds=58)
        request: dict[str, Any] = {"request_market_time": requested, "request_burn_height": height}
        # Observed at 58 s: not later than the request.
        source.prices[Feed.BTC_USD] = 8_100 * USD
        await oracle.advance(60)
        assert await _refused(_activation(oracle, **request)) is grpc.StatusCode.UNAVAILABLE
        source.prices[Feed.BTC_USD] = 8_200 * USD
        await oracle.advance(60)
        source.prices[Feed.BTC_USD] = 8_300 * USD
        await oracle.advance(3600)
        receipt = await _activation(oracle, **request)
        purpose = price_pb2.ActivationPurpose(policy=POLICY, activation_number=1)
        public = await oracle.stub.GetReceipt(pb.GetReceiptRequest(activation=purpose))
    assert receipt.btc_price_usd_e8 == 8_200 * USD
    assert (receipt.stx_price_usd_e8, receipt.burn_height) == (USD // 4, height)
    assert receipt.observe_time.seconds == FIRST + 118
    assert public.receipt == receipt
    assert [(one.feed, one.round) for one in public.prices] == [(1, FIRST + 120), (2, FIRST + 120)]
    message: dict[str, ClarityValue] = {
        "policy-id": Buffer(bytes.fromhex("0190" * 8)),
        "activation": UInt(1),
        "btc-price-e8": UInt(8_200 * USD),
        "stx-price-e8": UInt(USD // 4),
        "observed-at": UInt(FIRST + 118),
        "burn-height": UInt(height),
    }
    assert _signer("bithedge-activation-receipt", message, receipt.signature) == oracle.public_key


async def test_rounds_that_are_not_ok_decide_nothing(database_url: str) -> None:
    """Degraded rounds after the request are passed over."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(300)
        assert await _refused(_activation(oracle)) is grpc.StatusCode.UNAVAILABLE
        source.sources[Feed.BTC_USD], source.prices[Feed.BTC_USD] = 3, 8_050 * USD
        await oracle.advance(60)
        assert (await _activation(oracle)).btc_price_usd_e8 == 8_050 * USD


async def test_an_activation_has_one_receipt(database_url: str) -> None:
    """Twenty concurrent requests, and one an hour later at another price, get the same bytes; a request that differs
    is ALREADY_EXISTS."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        height = oracle.gateway.burn_height
        await oracle.advance(120)
        receipts = await asyncio.gather(*(_activation(oracle, request_burn_height=height) for _ in range(20)))
        source.prices[Feed.BTC_USD] = 7_000 * USD
        await oracle.advance(3600)
        receipts.append(await _activation(oracle, request_burn_height=height))
        differing = _activation(oracle, request_burn_height=height, strike_price_usd_e8=9_000 * USD)
        assert await _refused(differing) is grpc.StatusCode.ALREADY_EXISTS
        stored = await oracle.rows("SELECT count(*) FROM oracle.receipt")
    assert len({receipt.SerializeToString(deterministic=True) for receipt in receipts}) == 1
    assert stored[0][0] == 1


async def test_a_receipt_that_pays_less_than_a_base_unit_binds_nothing(database_url: str) -> None:
    """A dollar below the strike pays a small policy nothing: another activation may follow, and it may pay."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        await oracle.advance(120)
        small: dict[str, Any] = {"strike_price_usd_e8": 8_001 * USD, "protected_amount_sats": 1_000}
        assert (await _activation(oracle, 1, **small)).btc_price_usd_e8 == 8_000 * USD
        source.prices[Feed.BTC_USD] = 7_000 * USD
        await oracle.advance(240)
        later = {"request_market_time": START + dt.timedelta(seconds=180)}
        assert (await _activation(oracle, 2, **small, **later)).btc_price_usd_e8 == 7_000 * USD
        assert await _refused(_activation(oracle, 3, **small, **later)) is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_receipt_in_the_money_is_the_last_of_its_policy(database_url: str) -> None:
    """Out of the money another activation may follow; in the money none does, also when many try at once; other
    policies are not concerned."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        await oracle.advance(120)
        await _activation(oracle, 1, strike_price_usd_e8=8_000 * USD)
        outcomes = await asyncio.gather(*(_activation(oracle, n) for n in range(2, 12)), return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
        assert {one.code() for one in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
        assert len(refused) == 9
        assert await _refused(_activation(oracle, 99)) is grpc.StatusCode.FAILED_PRECONDITION
        assert (await _activation(oracle, 1, strike_price_usd_e8=8_000 * USD)).activation.activation_number == 1
        assert (await _activation(oracle, policy="policies/" + "0191" * 8)).btc_price_usd_e8 == 8_000 * USD


async def test_only_services_have_receipts_made(database_url: str) -> None:
    """A holder and a stranger are refused, and malformed requests name their field; a receipt that was never made
    is NOT_FOUND."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        request = pb.CreateExpiryReceiptRequest(expiration_burn_height=1)
        codes = [
            await _refused(oracle.stub.CreateExpiryReceipt(request)),
            await _refused(oracle.stub.CreateExpiryReceipt(request, metadata=metadata("ST1", Role.HOLDER))),
            await _refused(_activation(oracle, 0)),
            await _refused(_activation(oracle, policy="policies/1")),
            await _refused(_activation(oracle, request_market_time=None)),
            await _refused(oracle.stub.GetReceipt(pb.GetReceiptRequest())),
            await _refused(
                oracle.stub.GetReceipt(pb.GetReceiptRequest(expiry=price_pb2.ExpiryPurpose(expiration_burn_height=7)))
            ),
        ]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert codes[:2] == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
    assert codes[2:] == [invalid, invalid, invalid, invalid, grpc.StatusCode.NOT_FOUND]


async def test_the_expiry_average_is_the_one_made_by_hand(database_url: str) -> None:
    """Ten minutes at 8,000, ten at 8,100 and ten at 8,220 average 8,106.66666667 (rounded up); UNAVAILABLE before
    the burn block; the same for ever after; signed for the registry."""

    def path(feed: Feed, at: dt.datetime) -> int | None:
        if feed is Feed.STX_USD:
            return USD // 4
        minute = (int(at.timestamp()) - FIRST) // 60
        return {0: 8_000, 1: 8_100, 2: 8_220}.get((minute - 1) // 10, 8_200) * USD

    async with oracle_at(database_url, ScriptedPrices(path=path)) as oracle:
        height = oracle.gateway.burn_height + 3
        await oracle.advance(1740)
        assert await _refused(_expiry(oracle, height)) is grpc.StatusCode.UNAVAILABLE
        await oracle.advance(60)
        receipts = await asyncio.gather(*(_expiry(oracle, height) for _ in range(5)))
        await oracle.advance(1800)
        receipts.append(await _expiry(oracle, height))
        purpose = price_pb2.ExpiryPurpose(expiration_burn_height=height)
        public = await oracle.stub.GetReceipt(pb.GetReceiptRequest(expiry=purpose))
    assert {receipt.btc_price_usd_e8 for receipt in receipts} == {8_106_66666667}
    assert len({receipt.signature for receipt in receipts}) == 1
    receipt = receipts[0]
    assert (receipt.burn_height, receipt.observe_time.seconds) == (height, FIRST + 1800)
    assert receipt.expiry.expiration_burn_height == height
    assert [one.round for one in public.prices if one.feed == 1] == [FIRST + 60 * n for n in range(1, 31)]
    message: dict[str, ClarityValue] = {
        "expiration-burn-height": UInt(height),
        "btc-price-e8": UInt(8_106_66666667),
        "stx-price-e8": UInt(USD // 4),
        "observed-at": UInt(FIRST + 1800),
    }
    assert _signer("bithedge-expiry-receipt", message, receipt.signature) == oracle.public_key


async def test_a_gap_before_expiry_widens_the_window_and_then_asks_a_person(database_url: str) -> None:
    """With 20 minutes missing the window is an hour; with two hours mostly missing it is FAILED_PRECONDITION."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        height = oracle.gateway.burn_height
        await oracle.advance(40 * 60)
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(20 * 60)
        receipt = await _expiry(oracle, height + 6)
        await oracle.advance(100 * 60)
        assert await _refused(_expiry(oracle, height + 16)) is grpc.StatusCode.FAILED_PRECONDITION
        rows = await oracle.rows("SELECT cardinality(btc_rounds), cardinality(stx_rounds) FROM oracle.receipt")
    assert receipt.btc_price_usd_e8 == 8_000 * USD
    assert tuple(rows[0]) == (40, 30)


async def test_whoever_follows_receipts_misses_none(database_url: str) -> None:
    """Those that decide a payout, in the order of their making, page by page; the cursor holds for what comes later."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        await oracle.advance(7_200)
        height = oracle.gateway.burn_height - 1
        deciding = [await _activation(oracle), await _expiry(oracle, height)]
        await _activation(oracle, policy="policies/" + "0191" * 8, strike_price_usd_e8=5_000 * USD)
        first = await oracle.stub.ListReceipts(pb.ListReceiptsRequest(page_size=1))
        rest = await oracle.stub.ListReceipts(pb.ListReceiptsRequest(cursor=first.next_cursor))
        others = await asyncio.gather(*(_activation(oracle, policy=f"policies/{n:032x}") for n in range(1, 21)))
        later = await oracle.stub.ListReceipts(pb.ListReceiptsRequest(cursor=rest.next_cursor))
        none = await oracle.stub.ListReceipts(pb.ListReceiptsRequest(cursor=later.next_cursor))
        bad = oracle.stub.ListReceipts(pb.ListReceiptsRequest(cursor="x"))
        assert await _refused(bad) is grpc.StatusCode.INVALID_ARGUMENT
    assert [*first.receipts, *rest.receipts] == deciding
    named = [receipt.activation.policy for receipt in later.receipts]
    assert sorted(named) == sorted(receipt.activation.policy for receipt in others)
    assert (list(none.receipts), none.next_cursor) == ([], later.next_cursor)


async def test_a_preview_says_what_the_receipt_will_and_decides_nothing(database_url: str) -> None:
    """UNAVAILABLE before the burn block; then the very prices that are signed an hour later, zeros where a person must
    decide; it stores nothing, is for services alone, and refuses a height that is none and more heights than 50."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        height = oracle.gateway.burn_height
        await oracle.advance(1200)
        source.prices[Feed.BTC_USD] = 7_000 * USD
        assert await _refused(_preview(oracle, height + 2, height + 3)) is grpc.StatusCode.UNAVAILABLE
        await oracle.advance(600)
        early = await _preview(oracle, height + 3, height + 2)
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(8 * 1800)
        late = await _preview(oracle, height + 3, height + 26)
        assert await oracle.rows("SELECT purpose FROM oracle.receipt") == []
        signed = [await _expiry(oracle, height + number) for number in (3, 2)]
        assert await _refused(_expiry(oracle, height + 26)) is grpc.StatusCode.FAILED_PRECONDITION
        assert await _preview(oracle, height + 3, height + 2) == early
        request = pb.PreviewExpiryReceiptsRequest(expiration_burn_heights=[height])
        assert await _refused(oracle.stub.PreviewExpiryReceipts(request)) is grpc.StatusCode.UNAUTHENTICATED
        for wrong in ([0], range(1, 52)):
            assert await _refused(_preview(oracle, *wrong)) is grpc.StatusCode.INVALID_ARGUMENT
    assert early == [(one.btc_price_usd_e8, one.stx_price_usd_e8) for one in signed]
    assert early[0][0] < early[1][0] == 8_000 * USD
    assert late == [early[0], (0, 0)]
