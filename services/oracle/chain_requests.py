"""Requests to activate that holders make on chain, for when the backend does not answer them.

The oracle follows the chain's final events by itself, signs a receipt for each request and serves it publicly: the
gateway needs no keys for this, and no workflow runs. A request numbered n by the contract is the activation number
ON_CHAIN_ACTIVATIONS + n, so that it never meets a number that the policy service gave.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import AlreadyExists, BitHedgeError, FailedPrecondition, InvalidArgument, Unavailable
from kernel.ids import parse_resource_name
from kernel.lease import LeaderLease, LeaseLost
from kernel.log import get_logger
from kernel.units import Token
from services.oracle import store_requests as requests
from services.oracle.chain_value import UnreadableValue, read_flat_tuple
from services.oracle.receipts import ActivationRequest, Receipts
from services.oracle.tables import ActivationRequestRow, PolicyTermsRow

ON_CHAIN_ACTIVATIONS: Final = 1_000_000_000
_RETRY_SECONDS: Final = 1.0
_BATCH: Final = 100
_TOPIC: Final = "activation-requested"


class ChainRequests:
    """Follows the events under a lease (`follow`) and answers what was requested (`answer`), both in background."""

    def __init__(self, database: Database, lease: LeaderLease, gateway: grpc.aio.Channel, receipts: Receipts) -> None:
        self._database = database
        self._lease = lease
        self._stub = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._receipts = receipts

    async def follow(self) -> None:
        """Keeps strikes and requests while this replica leads, until cancelled."""
        await self._lease.lead(self._follow)

    async def _follow(self) -> None:
        while True:
            try:
                await self._read_stream()
            except LeaseLost:
                raise
            except (grpc.aio.AioRpcError, BitHedgeError) as error:
                get_logger().warning("event stream lost", error=str(error)[:200])
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read_stream(self) -> None:
        async with self._database.transaction() as session:
            cursor = await requests.cursor(session)
        request = gateway_pb2.WatchEventsRequest(cursor=cursor, finality=gateway_pb2.EVENT_FINALITY_FINAL)
        call = self._stub.WatchEvents(request, wait_for_ready=True)
        try:
            async for answer in call:
                await self._apply(answer)
        finally:
            call.cancel()

    async def _apply(self, answer: gateway_pb2.WatchEventsResponse) -> None:
        async with self._database.transaction() as session:
            await self._lease.check(session)
            for event in answer.events:
                if not event.withdrawn:
                    await _apply_event(session, event)
            await requests.save_cursor(session, answer.cursor)

    async def answer(self) -> None:
        """Answers open requests as soon as there are rounds for them, until cancelled. Any replica may."""
        while True:
            await self.answer_open()
            await asyncio.sleep(_RETRY_SECONDS)

    async def answer_open(self) -> None:
        """One attempt at each open request."""
        async with self._database.transaction() as session:
            rows = await requests.open_requests(session, _BATCH)
        for row in rows:
            await self._answer(row)

    async def _answer(self, row: ActivationRequestRow) -> None:
        async with self._database.transaction() as session:
            terms = await requests.terms(session, row.policy_id)
        if terms is None:
            raise LookupError(f"request on chain for policy {row.policy_id} without its terms")
        request = ActivationRequest(
            row.policy_id,
            row.activation_number,
            row.burn_height,
            row.market_time,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            terms.protected_amount_sats,
            Token(terms.settlement_token),
        )
        try:
            await self._receipts.for_activation(request)
        except Unavailable:
            return
        except (FailedPrecondition, AlreadyExists) as error:
            outcome = error.reason
        else:
            outcome = "SIGNED"
        async with self._database.transaction() as session:
            await requests.close_request(session, row.policy_id, row.activation_number, outcome)


async def _apply_event(session: AsyncSession, event: event_pb2.ChainEvent) -> None:
    payload = event.WhichOneof("payload")
    if payload == "policy_created":
        terms = event.policy_created.terms
        try:
            policy_id = parse_resource_name("policies", terms.policy)
        except InvalidArgument:
            get_logger().warning("policy without a readable id", sequence=event.sequence)
            return
        row = PolicyTermsRow(
            policy_id=policy_id,
            strike_price_usd_e8=terms.strike_price_usd_e8,
            floor_price_usd_e8=terms.floor_price_usd_e8,
            protected_amount_sats=terms.protected_amount_sats,
            settlement_token=terms.token,
        )
        await requests.add_terms(session, row)
    elif payload == "other" and event.other.topic == _TOPIC:
        await _apply_request(session, event)


async def _apply_request(session: AsyncSession, event: event_pb2.ChainEvent) -> None:
    try:
        fields = read_flat_tuple(event.other.value)
    except UnreadableValue as error:
        get_logger().error("request on chain not readable", sequence=event.sequence, error=str(error))
        return
    policy, number, burn_height = (fields.get(name) for name in ("policy-id", "request", "burn-height"))
    if not isinstance(policy, bytes) or not isinstance(number, int) or not isinstance(burn_height, int):
        get_logger().error("request on chain without its fields", sequence=event.sequence)
        return
    if await requests.terms(session, policy.hex()) is None:
        get_logger().error("request on chain for a policy never seen", sequence=event.sequence, policy=policy.hex())
        return
    row = ActivationRequestRow(
        policy_id=policy.hex(),
        activation_number=ON_CHAIN_ACTIVATIONS + number,
        burn_height=burn_height,
        market_time=event.block_time.ToDatetime(dt.UTC),
    )
    await requests.add_request(session, row)
