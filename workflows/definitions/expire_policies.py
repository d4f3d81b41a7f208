"""Expires a claimed batch of one height on that height's one receipt."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.oracle import OracleActivities
    from workflows.activities.policy import PolicyActivities
    from workflows.contract import ExpirePoliciesInput, WorkflowName
    from workflows.definitions.options import AWAITED, FOLLOWING, SHORT, refused_pause
    from workflows.definitions.refusals import STEP_ERRORS, refused_outcome

# After so many refusals the batch goes back, and the sweeper claims what is still due anew.
_ATTEMPTS: Final = 5


@workflow.defn(name=WorkflowName.EXPIRE_POLICIES)
class ExpirePolicies:
    """`expire/{batch}`. The contract settles what is in the money, expires the rest, and says so per id."""

    @workflow.run
    async def run(self, given: ExpirePoliciesInput) -> steps.IntentOutcome:
        """How the last attempt ended."""
        receipt = await workflow.execute_activity_method(
            OracleActivities.create_expiry_receipt,
            steps.ExpiryReceiptStep(given.expiration_burn_height),
            **AWAITED,
        )
        outcome = await self._attempt(given, receipt, 0)
        for attempt in range(1, _ATTEMPTS):
            if outcome.state == "CONFIRMED":
                return outcome
            await workflow.sleep(refused_pause(attempt))
            outcome = await self._attempt(given, receipt, attempt)
        if outcome.state != "CONFIRMED":
            await workflow.execute_local_activity_method(
                PolicyActivities.release_expiry_batch,
                steps.ReleaseBatchStep(given.batch, outcome.reason),
                **SHORT,
            )
        return outcome

    async def _attempt(self, given: ExpirePoliciesInput, receipt: steps.Receipt, attempt: int) -> steps.IntentOutcome:
        key = f"{workflow.info().workflow_id}/submit/{attempt}"
        try:
            intent = await workflow.execute_local_activity_method(
                ChainGatewayActivities.submit_expiry,
                steps.ExpiryStep(given.batch, receipt.receipt_hex, key),
                **SHORT,
            )
        except STEP_ERRORS as error:
            return refused_outcome(error)
        return await workflow.execute_activity_method(
            ChainGatewayActivities.follow_intent,
            steps.FollowIntentStep(intent.name, steps.IntentMilestone.ENDED),
            **FOLLOWING,
        )
