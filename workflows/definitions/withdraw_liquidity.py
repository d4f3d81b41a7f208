"""Withdraws: wait for capital, burn the shares at a price, sign the voucher, wait until it is used or has lapsed."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.pool import PoolActivities
    from workflows.contract import SignalName, WithdrawLiquidityInput, WorkflowName
    from workflows.definitions.options import SHORT, WAITING
    from workflows.definitions.refusals import STEP_ERRORS, refusal_reason


@workflow.defn(name=WorkflowName.WITHDRAW_LIQUIDITY)
class WithdrawLiquidity:
    """`withdraw/{id}`: open until the withdrawal is PAID, LAPSED, REFUSED or CANCELLED."""

    def __init__(self) -> None:
        self._ended = ""

    @workflow.run
    async def run(self, given: WithdrawLiquidityInput) -> steps.WithdrawalResult:
        """The state in which the withdrawal ended."""
        priced = await workflow.execute_activity_method(
            PoolActivities.price_withdrawal, steps.WithdrawalStep(given.withdrawal), **WAITING
        )
        if not priced.priced:
            return steps.WithdrawalResult(priced.state, priced.reason)
        reason = ""
        try:
            await self._hand_over(given, priced)
        except STEP_ERRORS as error:
            # The shares are burned: without its voucher the withdrawal lapses, and the amount re-enters.
            reason = refusal_reason(error)
        await workflow.wait_condition(lambda: bool(self._ended))
        return steps.WithdrawalResult(self._ended, reason)

    async def _hand_over(self, given: WithdrawLiquidityInput, priced: steps.PricedWithdrawal) -> None:
        voucher = await workflow.execute_local_activity_method(
            ChainGatewayActivities.sign_voucher, steps.VoucherStep(priced.voucher_terms_hex), **SHORT
        )
        prepared = await workflow.execute_local_activity_method(
            ChainGatewayActivities.prepare_withdrawal,
            steps.PrepareWithdrawalStep(priced.voucher_terms_hex, voucher.signature_hex, priced.public_key_hex),
            **SHORT,
        )
        await workflow.execute_local_activity_method(
            PoolActivities.record_voucher,
            steps.RecordVoucherStep(given.withdrawal, voucher.signature_hex, prepared.prepared_hex),
            **SHORT,
        )

    @workflow.signal(name=SignalName.WITHDRAWAL_ENDED)
    def withdrawal_ended(self, state: str) -> None:
        """What the chain decided."""
        self._ended = state
