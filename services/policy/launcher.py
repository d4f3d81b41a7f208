"""Starts a creation's workflow and waits a little for its quote; the outbox starts it too if this fails."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from typing import Any, Final, Protocol

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from kernel.log import get_logger
from kernel.temporal import search_attributes
from workflows.contract import TASK_QUEUE, Start, UpdateName

_WAIT_SECONDS: Final = 2.0


class CreationLauncher(Protocol):
    """What CreatePolicy needs of Temporal."""

    async def await_quote(self, start: Start) -> None:
        """Returns when the quote is stored or refused, or when that takes too long. Never raises for that."""
        ...


class TemporalLauncher:
    """Update-with-start: one round trip that starts the workflow, or joins the one that the outbox started."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def await_quote(self, start: Start) -> None:
        """Waits at most two seconds."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._update_with_start(start)
        except (
            TimeoutError,
            RPCError,
            RuntimeError,  # what a lazily connected client raises while nothing answers
            WorkflowUpdateFailedError,
            WorkflowUpdateRPCTimeoutOrCancelledError,
            WorkflowAlreadyStartedError,
        ) as error:
            get_logger().info("quote not awaited", workflow_id=start.workflow_id, error=repr(error)[:200])

    async def _update_with_start(self, start: Start) -> None:
        operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            str(start.workflow),
            dataclasses.asdict(start.input),
            id=start.workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=search_attributes({str(key): value for key, value in start.attributes.items()}),
        )
        await self._client.execute_update_with_start_workflow(
            str(UpdateName.AWAIT_QUOTE),
            start_workflow_operation=operation,
            rpc_timeout=dt.timedelta(seconds=_WAIT_SECONDS),
        )
