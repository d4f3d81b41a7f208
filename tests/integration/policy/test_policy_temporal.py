"""CreatePolicy against a real Temporal server: update-with-start, its time limit, and the outbox behind it."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from bithedge.policy.v1 import policy_pb2
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kernel.outbox import Relay
from kernel.temporal import TemporalDelivery
from services.policy import launcher
from services.policy.launcher import TemporalLauncher
from services.policy.tables import Outbox
from tests.integration.policy.harness import House, running
from workflows.contract import TASK_QUEUE, SearchAttribute, SignalName, UpdateName, WorkflowName

# A machine that stands still for a while is no failure: no worker ever comes, so whoever waits for one waits for ever.
_PATIENCE_SECONDS: Final = 60.0

_LIMIT = dt.timedelta(seconds=10)


@workflow.defn(name=WorkflowName.CREATE_POLICY, sandboxed=False)
class SignQuoteOnly:
    """The part of the create workflow that the policy service waits for."""

    def __init__(self) -> None:
        self._state = ""
        self._ended = ""

    @workflow.run
    async def run(self, given: dict[str, Any]) -> str:
        """Signs, then waits for the chain."""
        self._state = await workflow.execute_local_activity(
            "sign", given["labels"]["policy"], schedule_to_close_timeout=_LIMIT, result_type=str
        )
        await workflow.wait_condition(lambda: bool(self._ended))
        return self._ended

    @workflow.update(name=UpdateName.AWAIT_QUOTE)
    async def await_quote(self) -> str:
        """As the contract says."""
        await workflow.wait_condition(lambda: bool(self._state))
        return self._state

    @workflow.signal(name=SignalName.CREATION_ENDED)
    def creation_ended(self, state: str) -> None:
        """As the contract says."""
        self._ended = state


@pytest.fixture(scope="module")
async def temporal() -> AsyncIterator[Client]:
    """A Temporal server."""
    keys = [SearchAttributeKey.for_keyword(name) for name in SearchAttribute]
    binary = shutil.which("temporal", path=".venv/bin") or shutil.which("temporal")
    environment = await WorkflowEnvironment.start_local(dev_server_existing_path=binary, search_attributes=keys)
    async with environment:
        yield environment.client


@asynccontextmanager
async def worker(client: Client, house: House) -> AsyncIterator[None]:
    """A worker whose activity stores the signed quote over gRPC."""

    @activity.defn(name="sign")
    async def sign(name: str) -> str:
        await house.sign(name)
        return "PENDING_CREATION"

    async with Worker(client, task_queue=TASK_QUEUE, workflows=[SignQuoteOnly], activities=[sign]):
        yield


async def test_creation_through_temporal(temporal: Client, database_url: str) -> None:
    """The call answers with the transaction; the outbox's start joins the same run; a repeat starts nothing."""
    async with running(database_url, TemporalLauncher(temporal)) as house, worker(temporal, house):
        policy = await house.create()
        assert policy.HasField("prepared_transaction")
        assert await Relay(house.database, Outbox, TemporalDelivery(temporal)).deliver_due() == 1
        assert (await house.outbox("start"))[0]["workflow_id"] == f"create/{policy.name[9:]}"
        assert await house.value("SELECT count(*) FROM policy.outbox WHERE deliver_time IS NULL") == 0
        assert await house.create() == policy


async def test_creation_does_not_wait_for_a_worker(temporal: Client, database_url: str) -> None:
    """Without a worker the call answers the stored policy; when one comes the watcher gets the transaction."""
    async with running(database_url, TemporalLauncher(temporal)) as house:
        policy = await house.create()
        assert policy.state == policy_pb2.POLICY_STATE_PENDING_CREATION
        assert not policy.HasField("prepared_transaction")
        async with worker(temporal, house), asyncio.timeout(_PATIENCE_SECONDS):
            while not (await house.get(policy.name)).HasField("prepared_transaction"):
                await asyncio.sleep(0.05)
            assert (await house.create()).HasField("prepared_transaction")


async def test_a_client_that_does_not_keep_to_its_limit_holds_no_call(
    temporal: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the wait is ended by us and not by the client, the call answers the stored policy all the same."""
    monkeypatch.setattr(launcher, "_NET_SECONDS", 0.3)
    async with running(database_url, TemporalLauncher(temporal)) as house:
        assert (await house.create()).state == policy_pb2.POLICY_STATE_PENDING_CREATION


async def test_creation_without_temporal_is_stored_for_the_outbox(database_url: str) -> None:
    """With Temporal down the call answers the stored policy, and the start waits in the outbox."""
    client = await Client.connect("127.0.0.1:1", lazy=True)
    async with running(database_url, TemporalLauncher(client)) as house:
        policy = await house.create()
        assert policy.state == policy_pb2.POLICY_STATE_PENDING_CREATION
        assert await Relay(house.database, Outbox, TemporalDelivery(client)).deliver_due() == 1
        waiting = await house.rows("SELECT attempts, last_error <> '' FROM policy.outbox WHERE deliver_time IS NULL")
        assert [tuple(row) for row in waiting] == [(1, True)]
