"""The words in which tests speak of rows that differ from the chain: planted by hand, healed, and what they say."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from services.policy.store_projection import Stream
from tests.integration.policy.harness import AS_SERVICE, House

FINAL = gateway_pb2.EVENT_FINALITY_FINAL
HEALED = pb.HEALING_OUTCOME_HEALED
RESTORED = pb.HEALING_OUTCOME_RESTORED
NOTHING_MISSED = pb.HEALING_OUTCOME_NOTHING_MISSED
# What our books learned when, and what each change counts up: no two ways to the same policy agree on it.
_OF_THE_WAY: Final = ("history", "version", "update_time", "create_time", "quote_btc_round", "quote_stx_round")


async def heal(house: House, *names: str) -> list[pb.PolicyHealing]:
    """What the reconcile workflow asks for."""
    return list((await house.stub.HealPolicies(pb.HealPoliciesRequest(policies=names), metadata=AS_SERVICE)).healings)


async def outcomes(house: House, *names: str) -> list[int]:
    """The outcomes alone."""
    return [healing.outcome for healing in await heal(house, *names)]


async def by_hand(house: House, *statements: str) -> None:
    """What no process of ours can do: the triggers and the keys between tables are off."""
    async with house.database.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await connection.execute(sa.text(statement))


async def figures(house: House) -> dict[tuple[str, str], int]:
    """The platform's figures that are not zero."""
    found: Counter[tuple[str, str]] = Counter()
    statement = "SELECT kind, key, value FROM policy.stat UNION ALL SELECT kind, key, delta FROM policy.stat_delta"
    for kind, key, value in await house.rows(statement):
        found[kind, key] += value
    return {name: value for name, value in found.items() if value}


def said(policy: policy_pb2.Policy) -> policy_pb2.Policy:
    """The policy without what depends on the way to it."""
    message = policy_pb2.Policy()
    message.CopyFrom(policy)
    for name in _OF_THE_WAY:
        message.ClearField(name)
    return message


async def overlooked(house: House, *missed: Any, height: int = 1020) -> None:
    """Final events that the projector never sees; no quote waits at that height any more, and nothing is due yet."""
    await house.gateway.deliver(FINAL, height=height)
    await house.until_projected(Stream.FINAL, house.gateway.delivered(FINAL))
    house.gateway.overlook(*missed)
