"""Makes the books of one service again, and has them reconciled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pool_pb2

from deploy.demo.market import eventually
from deploy.demo.people import sign_in
from deploy.local.layout import REPOSITORY
from deploy.local.processes import StackError
from deploy.local.stack import Stack
from deploy.wallet.driver import Wallet
from kernel.ids import new_id
from kernel.rpc.channels import remote_errors

REBUILT: Final = ("policy", "pool")
_FAILED: Final = 2
_WAIT_SECONDS: Final = 120.0


async def rebuild_books(stack: Stack, service: str, compares: bool, say: Callable[[str], None]) -> int:
    """Rebuilds and reconciles, or compares alone; how many differences, 1 for any of a comparison.

    The rest of the stack runs. StackError while the service does, unless its books are only compared.
    """
    if not compares and stack.processes.running(service) is not None:
        raise StackError(f"{service} runs: stop it first with `python -m cli down {service}`")
    command = [sys.executable, "-m", f"services.{service}.rebuild", *(["--compare"] if compares else [])]
    environment = await stack.environment_of(service)
    run = await asyncio.to_thread(
        subprocess.run, command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    say(run.stdout.rstrip())
    if compares and run.returncode != _FAILED:
        return run.returncode
    if run.returncode:
        raise StackError(f"the rebuild of {service} ended with {run.returncode}; it goes on where it was")
    await stack.start()
    found = await reconcile(stack)
    for one in found:
        say(f"{one.kind} {one.subject} {one.cause}")
    say(f"differences: {len(found)}")
    return len(found)


async def reconcile(stack: Stack) -> list[pool_pb2.Difference]:
    """What a reconciliation finds, run now."""
    async with Wallet(stack.layout.node_url) as wallet:
        operator = await sign_in("operator", stack.keys.seed("operator"), wallet, stack.layout)
        pool = operator.services.pool
        with remote_errors():
            request = pool_pb2.RunReconciliationRequest(request_id=f"rebuild/{new_id()}")
            name = (await pool.RunReconciliation(request)).name
        wanted = pool_pb2.GetReconciliationRequest(name=name)
        answer = await eventually(lambda: pool.GetReconciliation(wanted), "the reconciliation", _WAIT_SECONDS)
        for channel in operator.services.channels:
            await channel.close()
    return list(answer.reconciliation.differences)
