"""The rotation of backend keys as operators do it: listed, and changed step by step, once per request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from bithedge.chain_gateway.v1 import backend_key_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel import idempotency
from kernel.database import Database
from kernel.errors import InvalidArgument, NotFound
from kernel.ids import resource_name
from kernel.log import get_logger
from services.chain_gateway import store_keys
from services.chain_gateway.convert_event import timestamp
from services.chain_gateway.domain.key_rotation import KeyFacts, KeyState, Step, after
from services.chain_gateway.key_roles import KeyRoles
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.tables import Request
from services.chain_gateway.tables_keys import BackendKey

_COLLECTION: Final = "backendKeys"
ChangeRequest = (
    pb.ActivateBackendKeyRequest | pb.PreferBackendKeyRequest | pb.DrainBackendKeyRequest | pb.RemoveBackendKeyRequest
)
ResponseT = TypeVar(
    "ResponseT",
    pb.ActivateBackendKeyResponse,
    pb.PreferBackendKeyResponse,
    pb.DrainBackendKeyResponse,
    pb.RemoveBackendKeyResponse,
)


class BackendKeys:
    """Serves what `BackendKeyService` asks."""

    def __init__(self, database: Database, roles: KeyRoles) -> None:
        self._database = database
        self._roles = roles

    async def list_all(self) -> pb.ListBackendKeysResponse:
        """All keys."""
        await self._roles.declare()
        async with self._database.transaction() as session:
            keys = await store_keys.all_keys(session)
            return pb.ListBackendKeysResponse(keys=[await self._message(session, key) for key in keys])

    async def change(
        self, principal: str, request: ChangeRequest, step: Step, response_type: type[ResponseT]
    ) -> ResponseT:
        """Takes a step with a key; NotFound for a key that no replica has held, FailedPrecondition for a wrong time."""
        address = _address(request.name)
        # Asked before any row is locked: a node may take its time.
        is_chain_principal = await self._roles.is_chain_principal(address)
        async with self._database.transaction() as session:
            answered = await idempotency.claim(session, Request, principal, request, request.request_id, response_type)
            if answered is not None:
                return answered
            keys = {key.address: key for key in await store_keys.lock_all(session)}
            if address not in keys:
                raise NotFound("UNKNOWN_BACKEND_KEY", f"there is no {request.name}")
            key = keys[address]
            facts = KeyFacts(is_chain_principal, await store_keys.open_transactions(session, address))
            state = after(step, KeyState(key.state), facts)
            if state is KeyState.PREFERRED:
                await self._demote(session, [one for one in keys.values() if one is not key], principal)
            if state != key.state:
                store_keys.change(session, key, state, principal)
                await session.flush()
            response = response_type(key=await self._message(session, key))
            await idempotency.complete(session, Request, principal, request, request.request_id, response)
        get_logger().warning("backend key changed", account=address, state=state.name, principal=principal)
        return response

    async def _demote(self, session: AsyncSession, others: Sequence[BackendKey], principal: str) -> None:
        for other in others:
            if other.state == KeyState.PREFERRED:
                store_keys.change(session, other, KeyState.ACTIVE, principal)
        # One key at the most is preferred at every statement, as the database demands.
        await session.flush()

    async def _message(self, session: AsyncSession, key: BackendKey) -> pb.BackendKey:
        return pb.BackendKey(
            name=resource_name(_COLLECTION, key.address),
            principal=key.address,
            state=pb.BackendKeyState.ValueType(key.state),
            is_chain_principal=await self._roles.is_chain_principal(key.address),
            held=self._roles.holds(key.address),
            open_transactions=await store_keys.open_transactions(session, key.address),
            signatures_until_burn_height=await store_keys.signatures_until(session, key.address),
            update_time=timestamp(key.update_time),
        )


def _address(name: str) -> str:
    prefix, _, address = name.partition("/")
    try:
        if prefix == _COLLECTION:
            return parse_address(address).text
    except CodecError:
        pass
    raise InvalidArgument.of("name", f"expected {_COLLECTION}/{{account}}", "INVALID_NAME")
