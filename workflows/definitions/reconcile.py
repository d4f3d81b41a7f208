"""Compares contracts, policy books and ledger; on a schedule, or when an operator asks."""

from __future__ import annotations

import datetime as dt

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.reconciliation import ReconciliationActivities
    from workflows.contract import ReconcileInput, WorkflowName
    from workflows.definitions.options import WAITING


@workflow.defn(name=WorkflowName.RECONCILE)
class Reconcile:
    """`reconcile/{id}`. Books that have not followed the chain yet wait; all is read anew for a withdrawn block."""

    @workflow.run
    async def run(self, given: ReconcileInput) -> steps.ReconciliationResult:
        """What was found."""
        name = given.reconciliation or f"reconciliations/{workflow.uuid4().hex}"
        return await workflow.execute_activity_method(
            ReconciliationActivities.reconcile,
            steps.ReconciliationStep(name),
            start_to_close_timeout=dt.timedelta(hours=1),
            heartbeat_timeout=dt.timedelta(seconds=60),
            retry_policy=WAITING["retry_policy"],
        )
