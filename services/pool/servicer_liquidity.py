"""Methods of deposits and withdrawals."""

from __future__ import annotations

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import InvalidArgument, NotFound
from kernel.idempotency import claim, complete
from kernel.ids import parse_resource_name
from kernel.paging import page_size
from kernel.rpc.caller import Caller, Role, current_caller
from kernel.rpc.interceptors import Context
from services.pool import convert, convert_vouchers, store_positions, tables
from services.pool.domain.withdrawal import WithdrawalState
from services.pool.parts import Parts
from services.pool.withdrawals import Request, record_voucher

_PUBLIC_KEY_BYTES = 33
_SIGNATURE_BYTES = 65
_PAGE_SIZE = 50
_LARGEST_PAGE = 200


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
        _check_key(request.public_key)
        provider = current_caller().principal
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, provider, request, request.request_id, pb.CreateWithdrawalResponse
            )
            if stored is not None:
                return stored
            wanted = Request(provider, tier, token, request.shares, request.public_key)
            row = await self._parts.withdrawals.request(session, wanted)
            response = pb.CreateWithdrawalResponse(withdrawal=convert.withdrawal_message(row))
            await complete(session, tables.Request, provider, request, request.request_id, response)
        return response

    async def GetWithdrawal(self, request: pb.GetWithdrawalRequest, context: Context) -> pb.GetWithdrawalResponse:
        """A withdrawal of the caller; of anybody for operators and services."""
        identifier = parse_resource_name("withdrawals", request.name)
        async with self._parts.database.transaction() as session:
            row = await self._visible(session, identifier)
            waits = row.state == WithdrawalState.REQUESTED
            ahead = await store_positions.ahead_in_queue(session, row) if waits else 0
        return pb.GetWithdrawalResponse(withdrawal=convert.withdrawal_message(row, ahead))

    async def _visible(self, session: AsyncSession, identifier: str) -> tables.Withdrawal:
        row = await store_positions.get_withdrawal(session, identifier)
        if row is None or not _may_see(current_caller(), row.provider):
            raise NotFound("WITHDRAWAL_UNKNOWN", "there is no such withdrawal")
        return row

    async def ListWithdrawals(self, request: pb.ListWithdrawalsRequest, context: Context) -> pb.ListWithdrawalsResponse:
        """The caller's withdrawals, newest first, by pages."""
        provider = current_caller().principal_for(request.provider_principal)
        size = page_size(request.page_size, _PAGE_SIZE, _LARGEST_PAGE)
        before = convert.withdrawal_page_start(request.page_token)
        async with self._parts.database.reading() as session:
            rows = await store_positions.withdrawals_of(session, provider, before, size + 1)
        response = pb.ListWithdrawalsResponse(withdrawals=map(convert.withdrawal_message, rows[:size]))
        if len(rows) > size:
            response.next_page_token = rows[size - 1].id
        return response

    async def CancelWithdrawal(
        self, request: pb.CancelWithdrawalRequest, context: Context
    ) -> pb.CancelWithdrawalResponse:
        """Gives up what is not filled yet of the caller's withdrawal; of anybody's for operators."""
        identifier = parse_resource_name("withdrawals", request.name)
        principal = current_caller().principal
        async with self._parts.database.reading() as session:
            await self._visible(session, identifier)
        await self._parts.withdrawals.price_what_is_due(identifier)
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, principal, request, request.request_id, pb.CancelWithdrawalResponse
            )
            if stored is not None:
                return stored
            row = await self._parts.withdrawals.cancel(session, identifier)
            response = pb.CancelWithdrawalResponse(withdrawal=convert.withdrawal_message(row))
            await complete(session, tables.Request, principal, request, request.request_id, response)
        return response

    async def GetDeposit(self, request: pb.GetDepositRequest, context: Context) -> pb.GetDepositResponse:
        """A deposit of the caller; of anybody for operators and services."""
        identifier = convert.deposit_id(request.name)
        async with self._parts.database.reading() as session:
            row = await _visible_deposit(session, identifier)
            returned_by = await store_positions.return_of(session, identifier)
        return pb.GetDepositResponse(deposit=convert.deposit_message(row, returned_by))

    async def CancelDeposit(self, request: pb.CancelDepositRequest, context: Context) -> pb.CancelDepositResponse:
        """Gives back a deposit of the caller that has no price yet; of anybody for operators."""
        identifier, principal = convert.deposit_id(request.name), current_caller().principal
        _check_key(request.public_key)
        returns = self._parts.deposit_returns
        async with self._parts.database.reading() as session:
            found = await _visible_deposit(session, identifier)
        await returns.price_what_is_due(found)
        async with self._parts.database.transaction() as session:
            stored = await claim(
                session, tables.Request, principal, request, request.request_id, pb.CancelDepositResponse
            )
            if stored is not None:
                return stored
            row, withdrawal = await returns.cancel(session, identifier, request.public_key)
            response = pb.CancelDepositResponse(
                deposit=convert.deposit_message(row, withdrawal.id), withdrawal=convert.withdrawal_message(withdrawal)
            )
            await complete(session, tables.Request, principal, request, request.request_id, response)
        return response

    async def PriceDeposit(self, request: pb.PriceDepositRequest, context: Context) -> pb.PriceDepositResponse:
        """Gives a final deposit its shares."""
        row = await self._parts.deposits.price_deposit(convert.deposit_id(request.name))
        return pb.PriceDepositResponse(deposit=convert.deposit_message(row))

    async def PriceWithdrawal(self, request: pb.PriceWithdrawalRequest, context: Context) -> pb.PriceWithdrawalResponse:
        """Burns the shares of a withdrawal, or says why it never will: REFUSED or CANCELLED."""
        row = await self._parts.withdrawals.price(parse_resource_name("withdrawals", request.name))
        response = pb.PriceWithdrawalResponse(withdrawal=convert.withdrawal_message(row), public_key=row.public_key)
        if row.state not in (WithdrawalState.REFUSED, WithdrawalState.CANCELLED):
            response.voucher_terms.CopyFrom(convert_vouchers.voucher_terms(row))
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


async def _visible_deposit(session: AsyncSession, identifier: str) -> tables.Deposit:
    row = await store_positions.get_deposit(session, identifier)
    if row is None or not _may_see(current_caller(), row.provider):
        raise NotFound("DEPOSIT_UNKNOWN", "there is no such deposit")
    return row


def _check_key(public_key: bytes) -> None:
    if len(public_key) not in (0, _PUBLIC_KEY_BYTES):
        raise InvalidArgument.of("public_key", "expected a compressed key of 33 bytes")


def _may_see(caller: Caller, owner: str) -> bool:
    return caller.principal == owner or caller.has(Role.OPERATOR) or caller.has(Role.SERVICE)
