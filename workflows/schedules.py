"""What runs on a clock."""

from __future__ import annotations

import datetime as dt
from typing import Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from workflows.contract import TASK_QUEUE, ReconcileInput, WorkflowName

RECONCILIATION: Final = "reconciliation"


async def create_schedules(client: Client, reconciliation_interval: dt.timedelta) -> None:
    """Creates the schedules that do not exist yet; several workers may call it at once."""
    action = ScheduleActionStartWorkflow(
        WorkflowName.RECONCILE, ReconcileInput(), id="reconcile/scheduled", task_queue=TASK_QUEUE
    )
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=reconciliation_interval)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        await client.create_schedule(RECONCILIATION, schedule)
    except ScheduleAlreadyRunningError:
        return
