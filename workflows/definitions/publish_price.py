"""Publishes one signed round and says how it ended, so that the next may follow."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.oracle import OracleActivities
    from workflows.contract import PublishPriceInput, WorkflowName
    from workflows.definitions.options import FOLLOWING, SHORT
    from workflows.definitions.refusals import STEP_ERRORS, refused_outcome


@workflow.defn(name=WorkflowName.PUBLISH_PRICE)
class PublishPrice:
    """`publish/{feed}/{round}`. Followed until it is in a block: a withdrawn round is replaced by the next."""

    @workflow.run
    async def run(self, given: PublishPriceInput) -> steps.IntentOutcome:
        """How the publication ended."""
        outcome = await self._publish(given)
        await workflow.execute_local_activity_method(
            OracleActivities.record_publication,
            steps.RecordPublicationStep(given.feed, given.round, outcome),
            **SHORT,
        )
        return outcome

    async def _publish(self, given: PublishPriceInput) -> steps.IntentOutcome:
        key = f"{workflow.info().workflow_id}/submit/0"
        try:
            intent = await workflow.execute_local_activity_method(
                ChainGatewayActivities.submit_publication,
                steps.PublicationStep(given.feed, given.round, key),
                **SHORT,
            )
        except STEP_ERRORS as error:
            return refused_outcome(error)
        return await workflow.execute_activity_method(
            ChainGatewayActivities.follow_intent,
            steps.FollowIntentStep(intent.name, steps.IntentMilestone.MINED),
            **FOLLOWING,
        )
