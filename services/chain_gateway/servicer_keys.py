"""The service with which operators rotate backend keys."""

from __future__ import annotations

from bithedge.chain_gateway.v1 import backend_key_service_pb2 as pb
from bithedge.chain_gateway.v1 import backend_key_service_pb2_grpc as pb_grpc

from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.chain_gateway.backend_keys import BackendKeys
from services.chain_gateway.domain.key_rotation import Step


class BackendKeyServicer(pb_grpc.BackendKeyServiceServicer):
    """All of `BackendKeyService`."""

    def __init__(self, keys: BackendKeys) -> None:
        self._keys = keys

    async def ListBackendKeys(self, request: pb.ListBackendKeysRequest, context: Context) -> pb.ListBackendKeysResponse:
        """All keys."""
        return await self._keys.list_all()

    async def ActivateBackendKey(
        self, request: pb.ActivateBackendKeyRequest, context: Context
    ) -> pb.ActivateBackendKeyResponse:
        """Takes a key back into use."""
        who = current_caller().principal
        return await self._keys.change(who, request, Step.ACTIVATE, pb.ActivateBackendKeyResponse)

    async def PreferBackendKey(
        self, request: pb.PreferBackendKeyRequest, context: Context
    ) -> pb.PreferBackendKeyResponse:
        """Makes a key sign quotes and vouchers."""
        who = current_caller().principal
        return await self._keys.change(who, request, Step.PREFER, pb.PreferBackendKeyResponse)

    async def DrainBackendKey(self, request: pb.DrainBackendKeyRequest, context: Context) -> pb.DrainBackendKeyResponse:
        """Gives a key no more work."""
        who = current_caller().principal
        return await self._keys.change(who, request, Step.DRAIN, pb.DrainBackendKeyResponse)

    async def RemoveBackendKey(
        self, request: pb.RemoveBackendKeyRequest, context: Context
    ) -> pb.RemoveBackendKeyResponse:
        """Ends a key's use."""
        who = current_caller().principal
        return await self._keys.change(who, request, Step.REMOVE, pb.RemoveBackendKeyResponse)
