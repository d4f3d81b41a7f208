"""Records histories for the replay tests: `python -m tests.workflows.record`.

Run it in the release that changes what a workflow does, and keep what was recorded before: those runs may still be
open when the release arrives. A recorded file is never written again.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from kernel.process import end_command
from tests.workflows import test_create_policy as create
from tests.workflows import test_expire_and_publish as chain
from tests.workflows import test_pool_workflows as pool
from tests.workflows import test_settle_policy as settle
from tests.workflows.stand_ins import ABORTED
from tests.workflows.world import DEADLINE_SECONDS, World, open_world, start_temporal

HISTORIES: Final = Path(__file__).with_name("histories")

# What is recorded: the tests that end their workflows, by name.
SCENARIOS: Final[dict[str, Callable[[World], Awaitable[None]]]] = {
    "paid": create.test_a_paid_quote_ends_active,
    "reservation_refused": create.test_a_refused_reservation_fails_the_creation_at_once,
    "signature_refused": create.test_a_refused_signature_gives_the_reservation_back,
    "out_of_the_money": settle.test_out_of_the_money_nothing_is_settled,
    "in_the_money": settle.test_in_the_money_a_child_settles_on_the_receipt,
    "aborted_once": settle.test_an_aborted_attempt_is_followed_by_one_under_a_new_key,
    "cancelled_once": settle.test_a_cancelled_intent_is_replaced_without_calling_it_a_refusal,
    "refused_for_good": settle.test_a_refusal_for_good_ends_the_settlement,
    "chain_spoke_first": settle.test_the_chain_may_speak_first,
    "confirmed": chain.test_a_batch_expires_on_its_heights_one_receipt,
    "given_back": chain.test_a_batch_refused_five_times_is_given_back,
    "mined": chain.test_a_publication_is_done_once_it_is_in_a_block,
    "refused": functools.partial(chain.test_a_refused_publication_is_recorded_and_not_repeated, end=ABORTED),
    "priced": pool.test_a_deposit_gets_its_shares_once_there_is_a_price,
    "voucher_refused": pool.test_a_refused_withdrawal_signs_no_voucher,
    "voucher_paid": functools.partial(pool.test_a_withdrawal_is_open_until_the_chain_decides, end="PAID"),
    "two_pages": pool.test_pages_are_handed_on_one_by_one,
}


async def _closed(client: Client) -> list[WorkflowExecution]:
    """Every workflow of the server, once the listing has them and none runs."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            found = [row async for row in client.list_workflows()]
            if found and all(row.status != WorkflowExecutionStatus.RUNNING for row in found):
                return found
            await asyncio.sleep(0.1)


def _without_traces(value: Any) -> Any:
    """The same without the stack traces of failures, which name files of the machine that recorded them."""
    if isinstance(value, dict):
        return {key: _without_traces(inner) for key, inner in value.items() if key != "stackTrace"}
    return [_without_traces(inner) for inner in value] if isinstance(value, list) else value


async def _record(name: str, scenario: Callable[[World], Awaitable[None]]) -> None:
    environment = await start_temporal()
    try:
        client = environment.client
        async with open_world(client) as world, world.worker():
            await scenario(world)
            for row in await _closed(client):
                history = await client.get_workflow_handle(row.id, run_id=row.run_id).fetch_history()
                kind = re.sub(r"(?<!^)(?=[A-Z])", "_", row.workflow_type).lower()
                path = HISTORIES / f"{kind}.{name}.json"
                if not path.exists():
                    path.write_text(json.dumps(_without_traces(history.to_json_dict()), indent=2) + "\n")
    finally:
        await environment.shutdown()


async def main() -> None:
    """Records what is not recorded yet."""
    HISTORIES.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        if not list(HISTORIES.glob(f"*.{name}.json")):
            await _record(name, scenario)


if __name__ == "__main__":
    asyncio.run(main())
    end_command(0)
