"""Policies read by id per second, beside a bare echo that reads one row by key.

`GetPolicy` over gRPC with a real token, of the policy service's own process, each call another of 1,000 policies whose
quotes are signed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import asyncpg
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.ids import new_id
from tests.bench.calls import calls_to, serialized
from tests.bench.processes import running_identity, running_service, running_yardstick
from tests.bench.row import Row, at_least, of_samples
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.echo_server import METHOD
from tests.integration.policy import harness
from tests.postgres import create_database

_POLICIES = 1_000
_COUNT = 3_000
_GET = "/bithedge.policy.v1.PolicyService/GetPolicy"
_OTHERS = ("CHAIN_GATEWAY_ADDRESS", "ORACLE_ADDRESS", "POOL_ADDRESS", "TEMPORAL_ADDRESS")
_COLUMNS = (
    "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns "
    "WHERE table_schema = 'policy' AND table_name = $1 AND column_name <> ALL($2)"
)


async def measure(bench: Workbench) -> Row:
    """Ours and the echo in turns."""
    async with AsyncExitStack() as stack:
        server_url = stack.enter_context(bench.postgres())
        database_url, other_url = await create_database(server_url), await create_database(server_url)
        names = [f"policies/{one}" for one in await _policies(database_url)]
        identity = await stack.enter_async_context(running_identity(bench.folder, database_url))
        settings = dict.fromkeys(_OTHERS, "127.0.0.1:1") | {
            "DATABASE_URL": database_url,
            "IDENTITY_ADDRESS": identity.address,
            "SERVICE_SECRET_FILE": str(identity.keys.secret("policy")),
            "CONTRACT_DEPLOYER": harness.OTHER,
        }
        policy = await stack.enter_async_context(running_service("policy", bench.folder, settings))
        calls = await stack.enter_async_context(calls_to(policy, _GET, await identity.metadata("workflows")))
        requests = serialized(pb.GetPolicyRequest(name=names[number % _POLICIES]) for number in range(_COUNT))
        size = str(len(await calls.answer(requests[0])))
        flags = ["--answer-bytes", size, "--database", other_url, "--read-keys", str(_POLICIES)]
        echo = await stack.enter_async_context(running_yardstick("echo_server", *flags))
        bare = await stack.enter_async_context(calls_to(echo, METHOD))
        samples = await bench.in_turns(lambda: calls.rate(requests), lambda: bare.rate(requests))
        busy = {"client_busy": calls.client_busy, "client_busy_yardstick": bare.client_busy}
        return of_samples(*samples, "calls/s", at_least(0.6), busy)


async def _policies(database_url: str) -> list[str]:
    """Ids of policies that are copies of one that the service itself made."""
    async with harness.running(database_url) as house:
        policy = await house.create()
        await house.sign(policy.name)
    first = policy.name.removeprefix("policies/")
    ids = [first, *(new_id() for _ in range(_POLICIES - 1))]
    database = await asyncpg.connect(database_url)
    try:
        for table, key, own in (("policy", "id", ["id"]), ("policy_history", "policy_id", ["id", "policy_id"])):
            columns = await database.fetchval(_COLUMNS, table, own)
            await database.execute(
                f"INSERT INTO policy.{table} ({key}, {columns}) SELECT copy, {columns} FROM policy.{table}, "
                f"unnest($1::text[]) AS copy WHERE {key} = $2 ORDER BY copy",
                ids[1:],
                first,
            )
        await database.execute("ANALYZE")
    finally:
        await database.close()
    return ids
