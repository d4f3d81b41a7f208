"""Settles a policy on its stored receipt: submit, follow, and leave the rest to what the chain says."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.policy import PolicyActivities
    from workflows.contract import SearchAttribute, SettlePolicyInput, SignalName, WorkflowName
    from workflows.definitions.options import FOLLOWING, REFUSED_PAUSE, SHORT, WAITING

_STATE = SearchAttributeKey.for_keyword(SearchAttribute.POLICY_STATE)
_SETTLING = "SETTLING"


@workflow.defn(name=WorkflowName.SETTLE_POLICY)
class SettlePolicy:
    """`settle/{policy}/{n}`. A new attempt only after the last intent ended ABORTED or CANCELLED."""

    def __init__(self) -> None:
        self._ended = ""

    @workflow.run
    async def run(self, given: SettlePolicyInput) -> steps.PolicyResult:
        """The state in which settlement ended."""
        attempt = 0
        while not self._ended:
            outcome = await self._attempt(given, attempt)
            attempt += 1
            if outcome.state == "CONFIRMED":
                await workflow.wait_condition(lambda: bool(self._ended))
            elif outcome.state == "ABORTED":
                result = await self._refused(given, outcome)
                if result.state != _SETTLING:
                    return self._close(given.labels.policy, result.state, result.reason)
                await self._pause()
        return self._close(given.labels.policy, self._ended)

    async def _attempt(self, given: SettlePolicyInput, attempt: int) -> steps.IntentOutcome:
        key = f"{workflow.info().workflow_id}/submit/{attempt}"
        intent = await workflow.execute_activity_method(
            ChainGatewayActivities.submit_settlement,
            steps.SettlementStep(given.labels.policy, given.activation_number, key),
            **WAITING,
        )
        return await workflow.execute_activity_method(
            ChainGatewayActivities.follow_intent,
            steps.FollowIntentStep(intent.name, steps.IntentMilestone.ENDED),
            **FOLLOWING,
        )

    async def _refused(self, given: SettlePolicyInput, outcome: steps.IntentOutcome) -> steps.PolicyResult:
        return await workflow.execute_local_activity_method(
            PolicyActivities.record_settlement_refusal,
            steps.RefusedSettlementStep(
                given.labels.policy, given.activation_number, outcome.contract_error, outcome.reason
            ),
            **SHORT,
        )

    async def _pause(self) -> None:
        try:
            await workflow.wait_condition(lambda: bool(self._ended), timeout=REFUSED_PAUSE)
        except TimeoutError:
            return

    def _close(self, policy: str, state: str, reason: str = "") -> steps.PolicyResult:
        workflow.upsert_search_attributes([_STATE.value_set(state)])
        return steps.PolicyResult(policy, state, reason)

    @workflow.signal(name=SignalName.SETTLEMENT_ENDED)
    def settlement_ended(self, state: str) -> None:
        """What the chain decided."""
        self._ended = state
