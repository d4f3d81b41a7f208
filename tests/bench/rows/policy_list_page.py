"""Cost of a page of fifty policies anywhere in a list of all active ones, among a million policies.

The yardstick is a page among a thousand. Pages start at places all over the list, as a client that pages through it
asks for them; mean time over gRPC, one in flight.
"""

from __future__ import annotations

import statistics
from typing import Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from services.policy.convert_lists import page_token
from tests.bench.row import Row, at_most, of_samples
from tests.bench.scale import LARGE, Platform, Query, platforms
from tests.bench.workbench import Workbench

FULL_ONLY = True
_CALLS: Final = 200
_TURNS: Final = 7
_LIST: Final = "/bithedge.policy.v1.PolicyService/ListPolicies"


async def measure(bench: Workbench) -> Row:
    """Pages of both platforms in turns."""
    async with (
        platforms(bench, (LARGE[0], 0)) as (large, small),
        large.asking(_LIST, _requests(large)) as ours,
        small.asking(_LIST, _requests(small)) as yardstick,
    ):
        samples = await bench.in_turns(lambda: _mean(ours), lambda: _mean(yardstick), _TURNS)
    return of_samples(*samples, "ms", at_most(1.5))


def _requests(platform: Platform) -> list[pb.ListPoliciesRequest]:
    """The list from every known policy on that leaves a whole page behind it."""
    asked = pb.ListPoliciesRequest(states=[policy_pb2.POLICY_STATE_ACTIVE])
    starts = sorted(platform.keys.ids)[len(platform.keys.ids) // 4 :]
    return [pb.ListPoliciesRequest(states=asked.states, page_token=page_token(asked, one)) for one in starts]


async def _mean(query: Query) -> float:
    return statistics.mean(await query.milliseconds(_CALLS))
