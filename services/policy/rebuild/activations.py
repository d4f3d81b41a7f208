"""Activations, from the receipts that the oracle keeps and the settlements that the gateway was asked for.

Each policy is a transaction of its own that does nothing the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb2
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import NotFound
from kernel.outbox import post
from kernel.rpc.channels import remote_errors
from kernel.temporal import START
from services.policy import convert, store
from services.policy.convert_retained import activation_from_receipt, settlement_from
from services.policy.domain.activation import ActivationState
from services.policy.domain.policy import Origin, Policy, move, touch
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.store_activations import insert_activation, read_activation
from services.policy.store_rebuild import list_activated, list_created
from services.policy.tables import Outbox
from workflows.contract import SettlePolicyInput, start_settle_policy

_PAGE: Final = 500
# As many as a database has connections for, and a little more for the oracle's answers.
_AT_ONCE: Final = 8

Page = Callable[[AsyncSession, str, int], Awaitable[list[Policy]]]


class Activations:
    """Restores what holders had asked for and the chain does not tell."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel, oracle: grpc.aio.Channel) -> None:
        self._database = database
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)
        self._oracle = oracle_grpc.OracleServiceStub(oracle)

    async def restore(self) -> int:
        """Returns when every receipt is in the books and every paying one is being settled; how many receipts."""
        gate, receipts = asyncio.Semaphore(_AT_ONCE), 0

        async def ask(policy: Policy) -> int:
            async with gate:
                return await self._receipts_of(policy)

        async for policies in self._pages(list_created):
            receipts += sum(await asyncio.gather(*(ask(policy) for policy in policies)))
        under_way = await self._settlements()
        async for policies in self._pages(list_activated):
            for policy in policies:
                await self._settle(policy.id, policy.id in under_way)
        return receipts

    async def _pages(self, page: Page) -> AsyncIterator[list[Policy]]:
        after = ""
        while True:
            async with self._database.transaction() as session:
                policies = await page(session, after, _PAGE)
            if not policies:
                return
            after = policies[-1].id
            yield policies

    async def _receipts_of(self, policy: Policy) -> int:
        number = policy.activation_number
        while True:
            request = oracle_pb2.GetReceiptRequest()
            request.activation.policy, request.activation.activation_number = policy.name, number + 1
            try:
                with remote_errors():
                    answer = await self._oracle.GetReceipt(request)
            except NotFound:
                return number
            number += 1
            async with self._database.transaction() as session:
                await _add_receipt(session, policy.id, number, answer)

    async def _settlements(self) -> set[str]:
        """Policies whose settlement the gateway still works on, or has done; notes how often each was tried."""
        under_way: set[str] = set()
        request = gateway_pb2.ListSettlementIntentsRequest()
        while True:
            with remote_errors():
                page = await self._gateway.ListSettlementIntents(request)
            for intent in page.settlement_intents:
                settlement = settlement_from(intent)
                if settlement.is_open:
                    under_way.add(settlement.policy_id)
                if settlement.run:
                    await self._note_run(settlement.policy_id, settlement.run)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return under_way

    async def _note_run(self, policy_id: str, run: int) -> None:
        async with self._database.transaction() as session:
            policy = await store.find(session, policy_id, lock=True)
            if policy is not None and policy.settlement_run < run:
                await store.save(session, touch(policy, Origin(wall_now()), settlement_run=run))

    async def _settle(self, policy_id: str, under_way: bool) -> None:
        """A policy with a paying receipt is only ever settled, and on that. By another run, unless one is under way:
        whether its workflow is still there nobody can tell, and of two settlements the contract takes one."""
        async with self._database.transaction() as session:
            policy = await store.lock(session, policy_id)
            activation = await read_activation(session, policy, policy.activation_number)
            if policy.state is not PolicyState.ACTIVE or activation.state is not ActivationState.IN_THE_MONEY:
                return
            run = policy.settlement_run + (not under_way)
            origin = Origin(wall_now(), burn_height=activation.request_burn_height)
            change = move(policy, Actor.CALL, Cause.HOLDER_ACTIVATED, origin, settlement_run=run, reason="")
            policy = await store.save(session, change)
            if not under_way:
                start = start_settle_policy(SettlePolicyInput(convert.labels(policy), activation.number, run))
                await post(session, Outbox, START, start.workflow_id, start.payload())


async def _add_receipt(
    session: AsyncSession, policy_id: str, number: int, answer: oracle_pb2.GetReceiptResponse
) -> None:
    policy = await store.lock(session, policy_id)
    activation = activation_from_receipt(policy, number, answer)
    await insert_activation(session, activation)
    fields: dict[str, Any] = {"activation_number": number, "activation_burn_height": activation.request_burn_height}
    if policy.state is PolicyState.ACTIVE and activation.state is ActivationState.OUT_OF_THE_MONEY:
        fields["reason"] = str(Cause.OUT_OF_THE_MONEY)
    await store.save(session, touch(policy, Origin(wall_now()), **fields))
