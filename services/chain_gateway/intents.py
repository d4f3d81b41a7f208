"""Intents: accepted once per key, answered, watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import AlreadyExists, InvalidArgument, NotFound
from kernel.ids import new_id, parse_resource_name
from services.chain_gateway import convert, store_chain, store_intents, store_transactions
from services.chain_gateway.contract_calls import backend_call
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import IntentState
from services.chain_gateway.intent_batches import IntentBatches
from services.chain_gateway.intent_changes import IntentChanges
from services.chain_gateway.store_intent_batches import NewIntent
from services.chain_gateway.tables import Intent

_MAX_KEY: Final = 300
_MAX_PURPOSE: Final = 500


class Intents:
    """Serves CreateIntent, GetIntent and WatchIntent."""

    def __init__(
        self, database: Database, contracts: Contracts, changes: IntentChanges, batches: IntentBatches
    ) -> None:
        self._database = database
        self._contracts = contracts
        self._changes = changes
        self._batches = batches

    async def create(self, principal: str, request: pb.CreateIntentRequest) -> pb.Intent:
        """The intent of the key; AlreadyExists when the key stands for another call."""
        if not 1 <= len(request.key) <= _MAX_KEY:
            raise InvalidArgument.of("key", f"expected 1 to {_MAX_KEY} characters")
        # What the database cannot store as text would fail with all that is stored together with it.
        for field, text in (("key", request.key), ("purpose", request.purpose)):
            if "\0" in text:
                raise InvalidArgument.of(field, "expected no character of code 0")
        allowed, call = backend_call(self._contracts, request.call)
        intent = NewIntent(
            id=new_id(),
            key=request.key,
            call=request.call.SerializeToString(deterministic=True),
            purpose=request.purpose[:_MAX_PURPOSE],
            created_by=principal,
            contract=allowed.contract,
            function=allowed.function,
            payload=call.payload_bytes,
            post_conditions=call.post_condition_bytes,
            priority=allowed.priority,
            create_time=wall_now(),
        )
        if await self._batches.add(intent):
            return convert.new_intent(intent.id, intent.key, intent.create_time)
        async with self._database.transaction() as session:
            stored = await store_intents.by_key(session, request.key)
            if stored is None:
                raise self._batches.full()
            if stored.payload != intent.payload or stored.post_conditions != intent.post_conditions:
                raise AlreadyExists("INTENT_KEY_REUSED", "the key stands for another call", key=request.key)
            return await self._message(session, stored)

    async def get(self, name: str) -> pb.Intent:
        """An intent by name."""
        identifier = parse_resource_name("intents", name)
        async with self._database.transaction() as session:
            row = await store_intents.get(session, identifier)
            if row is None:
                raise NotFound("UNKNOWN_INTENT", f"there is no {name}")
            return await self._message(session, row)

    async def watch(self, name: str) -> AsyncIterator[pb.Intent]:
        """The intent, then each change, until it has ended."""
        last: pb.Intent | None = None
        with self._changes.of(parse_resource_name("intents", name)) as changed:
            while True:
                changed.clear()
                message = await self.get(name)
                if message != last:
                    yield message
                    last = message
                if IntentState(message.state).ended:
                    return
                await changed.wait()

    async def _message(self, session: AsyncSession, row: Intent) -> pb.Intent:
        transactions = await store_transactions.of_intent(session, row.id)
        # The tip of the same database transaction: the follower may be a moment behind what ended the intent.
        state = await store_chain.read_state(session)
        return convert.intent(row, transactions, self._contracts, state.burn_height if state else 0)
