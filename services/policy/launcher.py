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
# Should the client itself not keep to the time limit.
_NET_SECONDS: Final = 2.5
_SOFT: Final = (
    TimeoutError,
    RPCError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowAlreadyStartedError,
    # What a lazily connected client raises while nothing answers at its address.
    RuntimeError,
)
# The failure is there already, or there is none.
_TAKE_SECONDS: Final = 0.01


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
        operation = _operation(start)
        try:
            async with asyncio.timeout(_NET_SECONDS):
                await self._client.execute_update_with_start_workflow(
                    str(UpdateName.AWAIT_QUOTE),
                    start_workflow_operation=operation,
                    rpc_timeout=dt.timedelta(seconds=_WAIT_SECONDS),
                )
        except _SOFT as error:
            get_logger().info("quote not awaited", workflow_id=start.workflow_id, error=repr(error)[:200])
            await _take_failure(operation)


def _operation(start: Start) -> WithStartWorkflowOperation[Any, Any]:
    return WithStartWorkflowOperation(
        str(start.workflow),
        dataclasses.asdict(start.input),
        id=start.workflow_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=search_attributes({str(key): value for key, value in start.attributes.items()}),
    )


async def _take_failure(operation: WithStartWorkflowOperation[Any, Any]) -> None:
    """The client leaves the same failure in the operation, and asyncio complains if nobody takes it.

    Where we ended the wait it is a cancellation: awaited here, it would end our own call, which then answers nobody.
    """
    handle = asyncio.ensure_future(operation.workflow_handle())
    await asyncio.wait([handle], timeout=_TAKE_SECONDS)
    if not handle.done():
        handle.cancel()
    elif not handle.cancelled():
        handle.exception()
