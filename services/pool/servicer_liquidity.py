"""Methods of deposits and withdrawals."""

from __future__ import annotations

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc

from kernel import outbox
from kernel.errors import InvalidArgument, NotFound
from kernel.idempotency import claim, complete
from kernel.ids import new_id, parse_resource_name, resource_name
from kernel.rpc.caller import Caller, Role, current_caller
from kernel.rpc.interceptors import Context
from kernel.temporal import START
from services.pool import convert, store_positions, tables
from services.pool.domain.withdrawal import WithdrawalState
from services.pool.liquidity import record_voucher
from services.pool.parts import Parts
from workflows.contract import WithdrawLiquidityInput, start_withdraw_liquidity

_PUBLIC_KEY_BYTES = 33
_SIGNATURE_BYTES = 65


class LiquidityMethods(pool_service_pb2_grpc.PoolServiceServicer):
    """What providers bring and take."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def CreateWithdrawal(
        self, request: pb.CreateWithdrawalRequest, context: Context
    ) -> pb.CreateWithdrawalResponse:
        """Stores the request of the caller and starts its workflow."""
        tier, token = convert.tier(request.tier), convert.token(request.token)
        if request.shares <= 0:
            raise InvalidArgument.of("shares", "must be positive")
        if len(request.public_key) not in (0, _PUBLIC_KEY_BYTES):
            raise InvalidArgument.of("public_key", "expected a compressed key of 33 bytes")
        provider = current_caller().principal
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, provider, request, request.request_id, pb.CreateWithdrawalResponse
            )
            if stored is not None:
                return stored
            row = await self._parts.liquidity.request(
                session, new_id(), provider, tier, token, request.shares, request.public_key
            )
            given = WithdrawLiquidityInput(resource_name("withdrawals", row.id), provider, tier.name)
            start = start_withdraw_liquidity(given)
            await outbox.post(session, tables.Outbox, START, start.workflow_id, start.payload())
            response = pb.CreateWithdrawalResponse(withdrawal=convert.withdrawal_message(row))
            await complete(session, tables.Request, provider, request, request.request_id, response)
        return response

    async def GetWithdrawal(self, request: pb.GetWithdrawalRequest, context: Context) -> pb.GetWithdrawalResponse:
        """A withdrawal of the caller; of anybody for operators and services."""
        identifier = parse_resource_name("withdrawals", request.name)
        async with self._parts.database.transaction() as session:
            row = await store_positions.get_withdrawal(session, identifier)
        if row is None or not _may_see(current_caller(), row.provider):
            raise NotFound("WITHDRAWAL_UNKNOWN", "there is no such withdrawal")
        return pb.GetWithdrawalResponse(withdrawal=convert.withdrawal_message(row))

    async def GetDeposit(self, request: pb.GetDepositRequest, context: Context) -> pb.GetDepositResponse:
        """A deposit of the caller; of anybody for operators and services."""
        identifier = convert.deposit_id(request.name)
        async with self._parts.database.transaction() as session:
            row = await store_positions.get_deposit(session, identifier)
        if row is None or not _may_see(current_caller(), row.provider):
            raise NotFound("DEPOSIT_UNKNOWN", "there is no such deposit")
        return pb.GetDepositResponse(deposit=convert.deposit_message(row))

    async def PriceDeposit(self, request: pb.PriceDepositRequest, context: Context) -> pb.PriceDepositResponse:
        """Gives a final deposit its shares."""
        row = await self._parts.liquidity.price_deposit(convert.deposit_id(request.name))
        return pb.PriceDepositResponse(deposit=convert.deposit_message(row))

    async def PriceWithdrawal(self, request: pb.PriceWithdrawalRequest, context: Context) -> pb.PriceWithdrawalResponse:
        """Burns the shares of a withdrawal, or refuses it."""
        row = await self._parts.liquidity.price_withdrawal(parse_resource_name("withdrawals", request.name))
        response = pb.PriceWithdrawalResponse(withdrawal=convert.withdrawal_message(row), public_key=row.public_key)
        if row.state != WithdrawalState.REFUSED:
            response.voucher_terms.CopyFrom(convert.voucher_terms(row))
        return response

    async def RecordVoucher(self, request: pb.RecordVoucherRequest, context: Context) -> pb.RecordVoucherResponse:
        """Stores the signed voucher and the transaction to sign."""
        identifier = parse_resource_name("withdrawals", request.name)
        if len(request.signature) != _SIGNATURE_BYTES:
            raise InvalidArgument.of("signature", "expected 65 bytes")
        prepared = request.prepared_transaction.SerializeToString()
        async with self._parts.database.transaction() as session:
            row = await record_voucher(session, identifier, request.signature, prepared)
        return pb.RecordVoucherResponse(withdrawal=convert.withdrawal_message(row))


def _may_see(caller: Caller, owner: str) -> bool:
    return caller.principal == owner or caller.has(Role.OPERATOR) or caller.has(Role.SERVICE)
