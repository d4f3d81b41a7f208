"""Overrides of the breaker: two operators, bounded, once per request, on record, ended by themselves."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import grpc
import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from kernel.errors import BitHedgeError
from kernel.rpc.caller import Role
from kernel.rpc.channels import remote_errors
from tests.integration.oracle.harness import BTC, START, STX, USD, Oracle, ScriptedPrices, oracle_at
from tests.tokens import metadata

ANN = metadata("ann", Role.OPERATOR)
BOB = metadata("bob", Role.OPERATOR)
HOUR = dt.timedelta(hours=1)
_NUMBERS = itertools.count()


def proposal(**changes: Any) -> pb.CreatePriceOverrideRequest:
    """A good one, except for what is changed."""
    fields: dict[str, Any] = {
        "request_id": f"create-{next(_NUMBERS)}",
        "feed": BTC,
        "low_price_usd_e8": 5_500 * USD,
        "high_price_usd_e8": 6_000 * USD,
        "expire_time": START + HOUR,
        "reason": "seen on four venues",
    }
    return pb.CreatePriceOverrideRequest(**(fields | changes))


async def create(oracle: Oracle, **changes: Any) -> pb.PriceOverride:
    """Ann proposes."""
    answer = await oracle.stub.CreatePriceOverride(proposal(**changes), metadata=ANN)
    found: pb.PriceOverride = answer.price_override
    return found


async def approve(oracle: Oracle, name: str, who: Any = BOB, request_id: str = "") -> pb.PriceOverride:
    """Bob, unless another is named, approves."""
    request = pb.ApprovePriceOverrideRequest(request_id=request_id or f"approve-{next(_NUMBERS)}", name=name)
    found: pb.PriceOverride = (await oracle.stub.ApprovePriceOverride(request, metadata=who)).price_override
    return found


async def cancel(oracle: Oracle, name: str, reason: str = "it was none") -> pb.PriceOverride:
    """Ann cancels."""
    request = pb.CancelPriceOverrideRequest(request_id=f"cancel-{next(_NUMBERS)}", name=name, reason=reason)
    found: pb.PriceOverride = (await oracle.stub.CancelPriceOverride(request, metadata=ANN)).price_override
    return found


async def refusal(call: Any) -> str:
    """The reason of a call that is refused."""
    with pytest.raises(BitHedgeError) as refused, remote_errors():
        await call
    return refused.value.reason


async def test_two_operators_are_needed(database_url: str) -> None:
    """Who proposed cannot approve, nor can a holder or a service; another operator can, once; the record says who and
    why, in the API and in a row that the database itself refuses to hold with one operator twice."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        one = await create(oracle)
        assert (one.state, one.proposer_principal) == (pb.PRICE_OVERRIDE_STATE_PROPOSED, "ann")
        assert await refusal(approve(oracle, one.name, ANN)) == "SECOND_OPERATOR_NEEDED"
        for who in (metadata("carl", Role.HOLDER), metadata("service:workflows", Role.SERVICE)):
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await approve(oracle, one.name, who)
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
        approved = await approve(oracle, one.name)
        assert (approved.state, approved.approver_principal) == (pb.PRICE_OVERRIDE_STATE_APPROVED, "bob")
        assert await refusal(approve(oracle, one.name)) == "OVERRIDE_NOT_PROPOSED"
        rows = await oracle.rows("SELECT proposer, approver, reason FROM oracle.price_override")
        with pytest.raises(Exception, match="price_override_two_operators"):
            await oracle.rows("UPDATE oracle.price_override SET approver = proposer RETURNING 1")
    assert [tuple(row) for row in rows] == [("ann", "bob", "seen on four venues")]


async def test_what_may_be_said_is_bounded(database_url: str) -> None:
    """No feed, an empty, upside-down, negative or too wide range, an end that is past or too far, and no reason are
    refused by name, and leave nothing behind."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        cases: dict[str, dict[str, Any]] = {
            "feed": {"feed": 0},
            "low_price_usd_e8": {"low_price_usd_e8": -1},
            "high_price_usd_e8": {"high_price_usd_e8": 5_499 * USD},
            "at most 2000 bps": {"high_price_usd_e8": 6_601 * USD},
            "expire_time": {"expire_time": START},
            "21600 s": {"expire_time": START + 7 * HOUR},
            "is no time": {"expire_time": Timestamp(seconds=2**62)},
            "reason": {"reason": " "},
            "printable": {"reason": "nothing\0 at all"},
            "1 to 500": {"reason": "x" * 501},
        }
        for named, change in cases.items():
            with pytest.raises(grpc.aio.AioRpcError, match=named) as refused:
                await create(oracle, **change)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await refusal(approve(oracle, "priceOverrides/" + "0" * 32)) == "OVERRIDE_NOT_FOUND"
        assert await refusal(approve(oracle, "policies/" + "0" * 32)) == "INVALID_NAME"
        assert await oracle.rows("SELECT 1 FROM oracle.price_override") == []
        assert await oracle.rows("SELECT 1 FROM oracle.request") == []


async def test_a_repeat_changes_nothing(database_url: str) -> None:
    """The same request again is answered as the first time, also after the override ended; with another body it is
    refused."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        first = await create(oracle, request_id="same")
        assert await create(oracle, request_id="same") == first
        assert await refusal(create(oracle, request_id="same", reason="other")) == "REQUEST_ID_REUSED"
        approved = await approve(oracle, first.name, request_id="again")
        await cancel(oracle, first.name)
        assert await approve(oracle, first.name, request_id="again") == approved
        await oracle.advance(7_200)
        assert await create(oracle, request_id="same") == first
        rows = await oracle.rows("SELECT count(*) FROM oracle.price_override")
    assert rows[0][0] == 1


async def test_it_ends_by_itself_or_by_one_operator(database_url: str) -> None:
    """An unapproved proposal expires and can then not be approved; a cancelled one cannot be approved, nor cancelled
    again; cancelling needs a reason."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        late, dropped = await create(oracle), await create(oracle, feed=STX)
        assert await refusal(cancel(oracle, dropped.name, "")) == "INVALID_FIELD"
        ended = await cancel(oracle, dropped.name)
        assert (ended.state, ended.canceller_principal, ended.cancel_reason) == (3, "ann", "it was none")
        assert await refusal(approve(oracle, dropped.name)) == "OVERRIDE_NOT_PROPOSED"
        assert await refusal(cancel(oracle, dropped.name)) == "OVERRIDE_ENDED"
        await oracle.advance(3_660)
        assert await refusal(approve(oracle, late.name)) == "OVERRIDE_NOT_PROPOSED"
        request = pb.GetPriceOverrideRequest(name=late.name)
        found = (await oracle.stub.GetPriceOverride(request, metadata=BOB)).price_override
    assert found.state == pb.PRICE_OVERRIDE_STATE_EXPIRED


async def test_all_are_listed_newest_first(database_url: str) -> None:
    """Pages without gap or repeat, of one feed or all; a made-up token is refused."""
    async with oracle_at(database_url, ScriptedPrices()) as oracle:
        made = [(await create(oracle, feed=feed)).name for feed in (BTC, STX, BTC, BTC)]

        async def names(**fields: Any) -> list[str]:
            found, token = [], ""
            while True:
                request = pb.ListPriceOverridesRequest(page_size=2, page_token=token, **fields)
                page = await oracle.stub.ListPriceOverrides(request, metadata=ANN)
                found += [one.name for one in page.price_overrides]
                token = page.next_page_token
                if not token:
                    return found

        assert await names() == sorted(made, reverse=True)
        assert await names(feed=STX) == [made[1]]
        bad = pb.ListPriceOverridesRequest(page_token="x")
        assert await refusal(oracle.stub.ListPriceOverrides(bad, metadata=ANN)) == "INVALID_PAGE_TOKEN"
