"""What can happen to a policy beside an activation, and what follows of each pair, as a page of docs/ shows it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb

from services.policy.domain.transitions import PolicyState as S
from services.policy.store_projection import Stream
from tests.integration.policy import events
from tests.integration.policy.harness import AS_OPERATOR, AS_SERVICE, House
from tests.integration.policy.stand_ins import USD
from tests.integration.policy.test_policy_activation import refuse
from tests.integration.policy.test_policy_life import activate, record_receipt

FINAL: Final = gateway_pb2.EVENT_FINALITY_FINAL
_SECONDS: Final = 60
_numbers = itertools.count(1)


@dataclass
class Subject:
    """A policy in a race, with a number of its own on chain."""

    house: House
    policy: policy_pb2.Policy
    number: int
    requests: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        """`policies/{id}`."""
        return self.policy.name

    async def state(self) -> S:
        """The state now."""
        name = policy_pb2.PolicyState.Name((await self.house.get(self.name)).state)
        return S(name.removeprefix("POLICY_STATE_"))

    async def set(self, assignment: str) -> None:
        """Moves a column of this policy alone, where a test cannot wait for the chain's heights."""
        async with self.house.database.engine.begin() as connection:
            statement = f"UPDATE policy.policy SET {assignment} WHERE id = '{self.name.rpartition('/')[2]}'"
            await connection.execute(sa.text(statement))


async def new_subject(house: House) -> Subject:
    """An ACTIVE policy."""
    number = next(_numbers)
    policy = await house.create(f"race-{number}")
    await house.sign(policy.name)
    await house.gateway.deliver(FINAL, events.created(policy, number), height=1001)
    await house.until(policy.name, policy_pb2.POLICY_STATE_ACTIVE)
    return Subject(house, policy, number)


async def _activate(one: Subject) -> None:
    await activate(one.house, one.name, f"activate-{one.number}-{next(one.requests)}")


async def _sweep(one: Subject) -> None:
    await one.set("due_burn_height = 1")
    # The service's own sweeper may be at it: what counts is that none is left that could be claimed.
    due = (
        "SELECT count(*) FROM policy.policy WHERE due_burn_height = 1 AND state = 'ACTIVE' AND NOT unjudged_activation"
    )
    async with asyncio.timeout(_SECONDS):
        while await one.house.value(due):
            await asyncio.sleep(0.02)


async def _final(one: Subject, event: object) -> None:
    await one.house.gateway.deliver(FINAL, event, height=1001)  # type: ignore[arg-type]
    await one.house.until_projected(Stream.FINAL, one.house.gateway.delivered(FINAL))


async def _settled(one: Subject) -> None:
    await _final(one, events.settled(one.policy, 5, one.number))


async def _expired(one: Subject) -> None:
    await _final(one, events.expired(one.policy, one.number))


async def _receipt(one: Subject, price: int) -> None:
    await record_receipt(one.house, await one.house.get(one.name), price)


async def _refused(one: Subject, error: int) -> None:
    await refuse(one.house, await one.house.get(one.name), error)


async def _released(one: Subject) -> None:
    name = await one.house.value(
        f"SELECT expiry_batch_id FROM policy.policy WHERE id = '{one.name.rpartition('/')[2]}'"
    )
    request = pb.ReleaseExpiryBatchRequest(name=f"expiryBatches/{name}", reason="u3021")
    await one.house.stub.ReleaseExpiryBatch(request, metadata=AS_SERVICE)


async def _retried(one: Subject) -> None:
    request = pb.RetrySettlementRequest(request_id=f"retry-{one.number}", name=one.name)
    await one.house.stub.RetrySettlement(request, metadata=AS_OPERATOR)


async def _outage(one: Subject) -> None:
    one.house.oracle.is_down = True


async def _pause(one: Subject) -> None:
    one.house.gateway.paused = ["settlement"]


async def _past(one: Subject) -> None:
    await one.set("expiration_burn_height = quote_burn_height + 1")
    await one.house.set_tip(one.house.gateway.tip.burn_height + 5)


# What may happen, in words; each is one step, after those that it needs.
HAPPENINGS: Final[dict[str, tuple[Callable[[Subject], Awaitable[None]], tuple[str, ...]]]] = {
    "a request to activate": (_activate, ()),
    "a receipt in the money": (lambda one: _receipt(one, 80_000 * USD), ("a request to activate",)),
    "a receipt out of the money": (lambda one: _receipt(one, 95_000 * USD), ("a request to activate",)),
    "a refusal for now (pause, no round yet)": (lambda one: _refused(one, 3001), ("a request to activate",)),
    "a refusal for good": (lambda one: _refused(one, 3021), ("a request to activate",)),
    "a refusal for good of a paying receipt": (
        lambda one: _refused(one, 3021),
        ("a request to activate", "a receipt in the money"),
    ),
    "an operator's retry": (_retried, ()),
    "the sweeper": (_sweep, ()),
    "the batch is refused": (_released, ()),
    "settled on chain": (_settled, ()),
    "expired on chain": (_expired, ()),
    "the expiration passes": (_past, ()),
    "a price outage": (_outage, ()),
    "a pause of settlement": (_pause, ()),
}


@dataclass(frozen=True)
class Pair:
    """First one, then the other: the state afterwards, and with which reason the other was refused if it was."""

    first: str
    second: str
    state: S
    refusal: str = ""


_A, _IN, _OUT = "a request to activate", "a receipt in the money", "a receipt out of the money"
_NOW, _GOOD = "a refusal for now (pause, no round yet)", "a refusal for good"
_BAD, _RETRY = "a refusal for good of a paying receipt", "an operator's retry"
_SWEEP, _RELEASE = "the sweeper", "the batch is refused"
_SETTLED, _EXPIRED, _PAST = "settled on chain", "expired on chain", "the expiration passes"
_OUTAGE, _PAUSE = "a price outage", "a pause of settlement"
PAIRS: Final = (
    Pair(_A, _A, S.SETTLING, "NOT_ACTIVE"),
    Pair(_A, _IN, S.SETTLING),
    Pair(_A, _OUT, S.ACTIVE),
    Pair(_A, _NOW, S.SETTLING),
    Pair(_A, _GOOD, S.ACTIVE),
    Pair(_A, _SWEEP, S.SETTLING),
    Pair(_A, _SETTLED, S.SETTLED),
    Pair(_A, _EXPIRED, S.EXPIRED),
    Pair(_A, _PAST, S.SETTLING),
    Pair(_A, _OUTAGE, S.SETTLING),
    Pair(_A, _PAUSE, S.SETTLING),
    Pair(_IN, _A, S.SETTLING, "NOT_ACTIVE"),
    Pair(_IN, _IN, S.SETTLING),
    Pair(_IN, _OUT, S.SETTLING, "RECEIPT_DIFFERS"),
    Pair(_IN, _NOW, S.SETTLING),
    Pair(_IN, _GOOD, S.FAILED_SETTLEMENT),
    Pair(_IN, _SWEEP, S.SETTLING),
    Pair(_IN, _SETTLED, S.SETTLED),
    Pair(_IN, _EXPIRED, S.EXPIRED),
    Pair(_OUT, _A, S.SETTLING),
    Pair(_OUT, _IN, S.ACTIVE, "RECEIPT_DIFFERS"),
    Pair(_OUT, _GOOD, S.ACTIVE),
    Pair(_OUT, _SWEEP, S.EXPIRING),
    Pair(_OUT, _SETTLED, S.SETTLED),
    Pair(_OUT, _EXPIRED, S.EXPIRED),
    Pair(_GOOD, _A, S.SETTLING),
    Pair(_BAD, _A, S.FAILED_SETTLEMENT, "NOT_ACTIVE"),
    Pair(_BAD, _RETRY, S.SETTLING),
    Pair(_BAD, _SWEEP, S.FAILED_SETTLEMENT),
    Pair(_BAD, _SETTLED, S.SETTLED),
    Pair(_BAD, _EXPIRED, S.EXPIRED),
    Pair(_SWEEP, _A, S.EXPIRING, "NOT_ACTIVE"),
    Pair(_SWEEP, _RELEASE, S.ACTIVE),
    Pair(_SWEEP, _SETTLED, S.SETTLED),
    Pair(_SWEEP, _EXPIRED, S.EXPIRED),
    Pair(_SETTLED, _A, S.SETTLED, "NOT_ACTIVE"),
    Pair(_SETTLED, _EXPIRED, S.SETTLED),
    Pair(_SETTLED, _SWEEP, S.SETTLED),
    Pair(_EXPIRED, _A, S.EXPIRED, "NOT_ACTIVE"),
    Pair(_EXPIRED, _SETTLED, S.EXPIRED),
    Pair(_EXPIRED, _SWEEP, S.EXPIRED),
    Pair(_PAST, _A, S.ACTIVE, "EXPIRED"),
    Pair(_PAST, _SWEEP, S.EXPIRING),
    Pair(_OUTAGE, _A, S.SETTLING),
    Pair(_PAUSE, _A, S.SETTLING),
)
# At the same time: what follows is what one of the two orders would have brought.
AT_ONCE: Final = ((_A, _A), (_A, _SWEEP), (_A, _SETTLED), (_A, _EXPIRED), (_SWEEP, _SETTLED), (_SWEEP, _EXPIRED))


def table() -> str:
    """The pairs as a table in Markdown."""
    lines = ["| first | then | the policy is | the latter is refused as |", "|---|---|---|---|"]
    for pair in PAIRS:
        refusal = f"`{pair.refusal}`" if pair.refusal else "–"
        lines.append(f"| {pair.first} | {pair.second} | {pair.state} | {refusal} |")
    return "\n".join(lines)
