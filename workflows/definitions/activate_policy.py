"""Decides one recorded activation on its receipt; in the money it is settled."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.oracle import OracleActivities
    from workflows.activities.policy import PolicyActivities
    from workflows.contract import (
        ActivatePolicyInput,
        SearchAttribute,
        SettlePolicyInput,
        WorkflowName,
        settle_policy_workflow_id,
    )
    from workflows.definitions.options import AWAITED, SHORT
    from workflows.definitions.settle_policy import SettlePolicy

_STATE = SearchAttributeKey.for_keyword(SearchAttribute.POLICY_STATE)


@workflow.defn(name=WorkflowName.ACTIVATE_POLICY)
class ActivatePolicy:
    """`activate/{policy}/{n}`."""

    @workflow.run
    async def run(self, given: ActivatePolicyInput) -> steps.PolicyResult:
        """The state after the activation: SETTLED, FAILED_SETTLEMENT, or ACTIVE when out of the money."""
        policy = given.labels.policy
        receipt = await workflow.execute_activity_method(
            OracleActivities.create_activation_receipt,
            steps.ReceiptStep(policy, given.activation_number, given.request_burn_height, given.request_market_time),
            **AWAITED,
        )
        decision = await workflow.execute_local_activity_method(
            PolicyActivities.record_activation_receipt,
            steps.RecordReceiptStep(policy, given.activation_number, receipt.receipt_hex),
            **SHORT,
        )
        result = steps.PolicyResult(policy, decision.state)
        if decision.in_the_money:
            result = await workflow.execute_child_workflow(
                SettlePolicy.run,
                SettlePolicyInput(given.labels, given.activation_number),
                id=settle_policy_workflow_id(policy, given.activation_number),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # What is in the money is settled, whoever ends this workflow.
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                search_attributes=workflow.info().typed_search_attributes,
            )
        workflow.upsert_search_attributes([_STATE.value_set(result.state)])
        return result
