"""Calls to the pool service."""

from __future__ import annotations

import grpc
from bithedge.policy.v1 import policy_service_pb2, policy_service_pb2_grpc
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2_grpc
from bithedge.type.v1 import transaction_pb2
from temporalio import activity

from workflows import steps
from workflows.failures import queue_calls, service_calls


class PoolActivities:
    """Steps that the pool carries out; each is idempotent there."""

    def __init__(self, pool: grpc.aio.Channel, policy: grpc.aio.Channel) -> None:
        self._pool = pool_service_pb2_grpc.PoolServiceStub(pool)
        self._policy = policy_service_pb2_grpc.PolicyServiceStub(policy)

    @activity.defn
    async def reserve_capacity(self, step: steps.PolicyStep) -> steps.ReservationResult:
        """Reserves the maximum payout of a stored quote."""
        with service_calls():
            answer = await self._policy.GetPolicy(policy_service_pb2.GetPolicyRequest(name=step.policy))
            request = pb.CreateReservationRequest(
                terms=answer.policy.quote_terms, max_payout_base_units=answer.policy.max_payout.base_units
            )
            reservation = (await self._pool.CreateReservation(request)).reservation
        held = reservation.state in (pb.RESERVATION_STATE_HELD, pb.RESERVATION_STATE_COMMITTED)
        return steps.ReservationResult(held, reservation.reason)

    @activity.defn
    async def cancel_reservation(self, step: steps.PolicyStep) -> None:
        """Gives back the capacity of a quote that was never signed."""
        with service_calls():
            await self._pool.CancelReservation(pb.CancelReservationRequest(policy=step.policy))

    @activity.defn
    async def price_deposit(self, step: steps.DepositStep) -> steps.DepositResult:
        """Issues the shares of a final deposit."""
        with queue_calls(), service_calls():
            answer = await self._pool.PriceDeposit(pb.PriceDepositRequest(name=step.deposit))
        return steps.DepositResult(answer.deposit.shares)

    @activity.defn
    async def price_withdrawal(self, step: steps.WithdrawalStep) -> steps.PricedWithdrawal:
        """Burns the shares of a withdrawal and fixes its voucher, or says where it ended without."""
        with queue_calls(), service_calls():
            answer = await self._pool.PriceWithdrawal(pb.PriceWithdrawalRequest(name=step.withdrawal))
        state = pb.WithdrawalState.Name(answer.withdrawal.state).removeprefix("WITHDRAWAL_STATE_")
        return steps.PricedWithdrawal(
            priced=state not in ("REFUSED", "CANCELLED"),
            reason=answer.withdrawal.reason,
            voucher_terms_hex=answer.voucher_terms.SerializeToString().hex(),
            public_key_hex=answer.public_key.hex(),
            state=state,
        )

    @activity.defn
    async def record_voucher(self, step: steps.RecordVoucherStep) -> steps.WithdrawalResult:
        """Stores the voucher and the transaction to sign."""
        prepared = transaction_pb2.PreparedTransaction.FromString(bytes.fromhex(step.prepared_hex))
        request = pb.RecordVoucherRequest(
            name=step.withdrawal, signature=bytes.fromhex(step.signature_hex), prepared_transaction=prepared
        )
        with service_calls():
            withdrawal = (await self._pool.RecordVoucher(request)).withdrawal
        state = pb.WithdrawalState.Name(withdrawal.state).removeprefix("WITHDRAWAL_STATE_")
        return steps.WithdrawalResult(state, withdrawal.reason)
