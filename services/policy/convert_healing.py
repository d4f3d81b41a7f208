"""Between requests that name policies for reconciliation and the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name, resource_name
from services.policy.domain.healing import Healed
from services.policy.domain.policy import COLLECTION

_MOST: Final = 1_000


def ids_from(names: Sequence[str]) -> list[str]:
    """The ids of 1 to 1,000 different policies; InvalidArgument for anything else."""
    if not 0 < len(names) <= _MOST:
        raise InvalidArgument.of("policies", f"expected 1 to {_MOST} names, not {len(names)}")
    ids = [parse_resource_name(COLLECTION, name, "policies") for name in names]
    if len(set(ids)) < len(ids):
        raise InvalidArgument.of("policies", "names a policy twice")
    return ids


def totals_of(request: pb.ListPolicyTotalsRequest) -> list[str] | None:
    """The ids of the policies that are asked for; None for a page of all."""
    if not request.policies:
        return None
    if request.after_onchain_id or request.page_size:
        raise InvalidArgument.of("policies", "goes with neither after_onchain_id nor page_size")
    return ids_from(request.policies)


def healing_message(healed: Healed) -> pb.PolicyHealing:
    """What became of a policy."""
    return pb.PolicyHealing(
        policy=resource_name(COLLECTION, healed.policy_id),
        outcome=pb.HealingOutcome.Value(f"HEALING_OUTCOME_{healed.outcome}"),
        changed_fields=healed.changed_fields,
    )
