"""Gives a final deposit its shares at the first good price after it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.pool import PoolActivities
    from workflows.contract import DepositLiquidityInput, WorkflowName
    from workflows.definitions.options import WAITING


@workflow.defn(name=WorkflowName.DEPOSIT_LIQUIDITY)
class DepositLiquidity:
    """`deposit/{id}`."""

    @workflow.run
    async def run(self, given: DepositLiquidityInput) -> steps.DepositResult:
        """The shares issued."""
        return await workflow.execute_activity_method(
            PoolActivities.price_deposit, steps.DepositStep(given.deposit), **WAITING
        )
