"""A re-index from the first block gives the same table, and says where a table was tampered with."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kernel.database import Database
from kernel.errors import FailedPrecondition
from services.chain_gateway.config import Settings
from services.chain_gateway.gateway import Gateway
from services.chain_gateway.reindex.comparison import Reindex, Report
from tests.integration.chain_gateway.scripted_node import (
    ScriptedNode,
    ScriptedTransaction,
    deposit_print,
    digest,
    scripted_node,
)
from tests.integration.chain_gateway.world import SCRIPTED_DEPLOYER, running_gateway, scripted_settings, write_key

VAULT = f"{SCRIPTED_DEPLOYER}.liquidity-pool-vault"


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    """A chain of 70 blocks, most of them with a deposit, and a fork that was abandoned."""
    async with scripted_node() as node:
        for height in range(1, 71):
            node.add(height, *([_deposit(height)] if height % 3 else []))
        yield node


@pytest.fixture
def settings(node: ScriptedNode, database_url: str, tmp_path: Path) -> Settings:
    """Settings of a gateway on the scripted node."""
    return scripted_settings(database_url, write_key(tmp_path / "key", 5), node.url)


def _deposit(number: int, fork: str = "") -> ScriptedTransaction:
    return ScriptedTransaction(digest("deposit", number, fork), [deposit_print(number, VAULT), deposit_print(1, VAULT)])


def _reindex(gateway: Gateway, settings: Settings) -> Reindex:
    return Reindex(gateway.database, gateway.nodes, settings.contracts(), settings.start_stacks_height)


async def _report_after(statement: str, settings: Settings) -> Report:
    """What a re-index says of a table that was ingested whole and then changed by hand."""
    async with running_gateway(settings) as running:
        await running.tip(stacks_height=70)
        async with running.gateway.database.transaction() as session:
            await (await session.connection()).execute(sa.text(statement))
        return await _reindex(running.gateway, settings).compare()


async def test_a_table_with_forks_in_its_past_equals_a_fresh_index(node: ScriptedNode, settings: Settings) -> None:
    """After a fork, withdrawn and told again, the canonical rows are those of the chain read anew."""
    async with running_gateway(settings) as running:
        await running.tip(stacks_height=70)
        for height in range(60, 72):
            node.add(height, _deposit(height, "x"), fork="x", on_height=59 if height == 60 else None)
        await running.tip(stacks_height=71)
        report = await _reindex(running.gateway, settings).compare()
    assert (report.through_stacks_height, report.blocks, report.differences) == (71, 71, [])
    assert report.events == 2 * len([height for height in range(1, 60) if height % 3]) + 2 * 12


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM chain_gateway.event WHERE stacks_height = 7 AND event_index = 1", {"missing_event": 1}),
        ("UPDATE chain_gateway.event SET sender = 'ST1' WHERE stacks_height = 8", {"changed_event": 2}),
        ("UPDATE chain_gateway.event SET event_index = 9 WHERE sequence = 3", {"missing_event": 1, "extra_event": 1}),
        ("UPDATE chain_gateway.block SET canonical = false WHERE stacks_height = 9", {"missing_block": 1}),
    ],
)
async def test_what_was_changed_is_found(
    node: ScriptedNode, settings: Settings, statement: str, expected: Mapping[str, int]
) -> None:
    """A row deleted, changed or renamed by hand is reported by its kind and height."""
    report = await _report_after(statement, settings)
    kinds = [one.kind.value for one in report.differences if one.kind != "broken_history"]
    assert {kind: kinds.count(kind) for kind in kinds} == expected


async def test_a_history_that_does_not_add_up_is_found(node: ScriptedNode, settings: Settings) -> None:
    """An event that is no longer canonical though no withdrawal was told, and a gap in the sequences, are reported."""
    report = await _report_after("UPDATE chain_gateway.event SET canonical = false WHERE sequence = 5", settings)
    assert [one.kind.value for one in report.differences] == ["missing_event", "broken_history"]


async def test_nothing_ingested_is_no_equality(node: ScriptedNode, settings: Settings) -> None:
    """Before the first block there is nothing to compare, which is an error and not an empty success."""
    async with running_gateway(settings, only=("state",)) as running:
        with pytest.raises(FailedPrecondition):
            await _reindex(running.gateway, settings).compare()


async def _command(settings: Settings) -> tuple[int, str, str]:
    """Runs the operators' command with a service's settings."""
    environment = {
        name.upper(): ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in dataclasses.asdict(settings).items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.chain_gateway.reindex",
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_says_it_with_its_exit_code(node: ScriptedNode, settings: Settings) -> None:
    """0 and an empty list for equal tables, 1 and the differences for others, 2 and one line without a database."""
    async with running_gateway(settings) as running:
        await running.tip(stacks_height=70)
    code, output, errors = await _command(settings)
    report: dict[str, Any] = json.loads(output)
    assert (code, report["through_stacks_height"], report["differences"]) == (0, 70, []), errors
    database = Database(settings.database_url)
    async with database.transaction() as session:
        change = sa.text("UPDATE chain_gateway.event SET value = '\\x03' WHERE stacks_height = 70")
        await (await session.connection()).execute(change)
    await database.close()
    code, output, _ = await _command(settings)
    assert code == 1
    assert {one["kind"] for one in json.loads(output)["differences"]} == {"changed_event"}
    code, output, errors = await _command(dataclasses.replace(settings, node_urls=("http://127.0.0.1:1",)))
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
