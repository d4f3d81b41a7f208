"""The words in which tests speak of withdrawals."""

from __future__ import annotations

from typing import Any

from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2, transaction_pb2

from kernel.units import Token
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool, amount_of, provider


async def request(pool: RunningPool, shares: int, request_id: str = "w1", who: str = "SP-ALICE") -> pb.Withdrawal:
    """Asks to burn BALANCED STX shares."""
    asked = pb.CreateWithdrawalRequest(
        request_id=request_id,
        tier=money_pb2.TIER_BALANCED,
        token=money_pb2.TOKEN_STX,
        shares=shares,
        public_key=b"\x02" * 33,
    )
    return (await pool.stub.CreateWithdrawal(asked, metadata=provider(who))).withdrawal


async def price(pool: RunningPool, withdrawal: pb.Withdrawal) -> pb.PriceWithdrawalResponse:
    """Prices a withdrawal a second later."""
    await pool.gateway.pass_seconds(1)
    return await pool.stub.PriceWithdrawal(pb.PriceWithdrawalRequest(name=withdrawal.name), metadata=WORKFLOWS)


async def record(pool: RunningPool, withdrawal: pb.Withdrawal) -> pb.Withdrawal:
    """Stores a voucher."""
    asked = pb.RecordVoucherRequest(
        name=withdrawal.name,
        signature=b"s" * 65,
        prepared_transaction=transaction_pb2.PreparedTransaction(name="preparedTransactions/1"),
    )
    return (await pool.stub.RecordVoucher(asked, metadata=WORKFLOWS)).withdrawal


async def get(pool: RunningPool, withdrawal: pb.Withdrawal, who: Any = WORKFLOWS) -> pb.Withdrawal:
    """Reads a withdrawal."""
    return (await pool.stub.GetWithdrawal(pb.GetWithdrawalRequest(name=withdrawal.name), metadata=who)).withdrawal


def paid(pool: RunningPool, withdrawal: pb.Withdrawal, amount: int) -> event_pb2.ChainEvent:
    """The event of a payment."""
    used = event_pb2.Withdrawn(
        withdrawal=withdrawal.name,
        provider_principal=withdrawal.provider_principal,
        amount=amount_of(Token.STX, amount),
    )
    return pool.gateway.event(withdrawal=used)
