"""Heals rows of policies that differ from the final events of the chain, which the gateway and nobody else proves.

Missed events go through the projector's own code; what they refute is corrected from them, field by field. Each policy
is one transaction under the projector's lock, and healing twice is healing once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import Aborted, BitHedgeError
from kernel.ids import parse_resource_name
from kernel.log import get_logger
from kernel.rpc.channels import remote_errors
from services.policy import store
from services.policy.domain.healing import Healed, Outcome, believed_state, changed_fields, counted, is_refuted
from services.policy.domain.policy import COLLECTION, Origin, Policy, correct, note
from services.policy.domain.transitions import OPEN, Actor, Cause, PolicyState
from services.policy.final_events import ChainWord, FinalEvents
from services.policy.projection import Event, adopted, alert, apply_final, creation_fields, end_fields, term_fields
from services.policy.projection_undo import open_fields, reopened, undo_final
from services.policy.restoring import restore
from services.policy.store_figures import add_figures, figures_of
from services.policy.store_projection import Projection, Stream, read_projection
from services.policy.store_queries import find_policies

# A projector that is overtaken again and again is catching up: whoever asked comes later.
_ATTEMPTS: Final = 20
_QUOTES: Final = 2_000
# These move on after the event that set them first.
_MOVE_ON: Final = frozenset({"onchain_state", "onchain_burn_height", "last_status_txid", "due_burn_height"})
_OPEN_SAYS: Final[Mapping[str, Any]] = {
    "payout_base_units": 0,
    "settlement_btc_price_usd_e8": 0,
    "settlement_stx_price_usd_e8": 0,
    "settlement_time": None,
}

Quotes = Mapping[str, pb.SignedQuote]


class Healing:
    """Puts rows right. `vault` is the counterparty of policies whose row is made again."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel, vault: str) -> None:
        self._database = database
        self._gateway = pb_grpc.ChainGatewayServiceStub(gateway)
        self._vault = vault

    async def heal(self, ids: Sequence[str]) -> list[Healed]:
        """What became of each policy.

        Unavailable while the gateway does not answer; Aborted CURSOR_MOVED while the projector is catching up. What was
        healed before stays healed.
        """
        events = FinalEvents(self._gateway, ids)
        projection = await self._read_on(events)
        quotes = await self._quotes_of_lost(events, ids)
        healed = []
        for policy_id in ids:
            one, projection = await self._heal(events, projection, policy_id, quotes)
            healed.append(one)
            if one.outcome is not Outcome.NOTHING_MISSED:
                alert("policy_differed_from_chain", policy=policy_id, outcome=one.outcome, changed=one.changed_fields)
        return healed

    async def _read_on(self, events: FinalEvents) -> Projection:
        async with self._database.transaction() as session:
            projection = await read_projection(session, Stream.FINAL)
        await events.follow(projection)
        return projection

    async def _heal(
        self, events: FinalEvents, projection: Projection, policy_id: str, quotes: Quotes
    ) -> tuple[Healed, Projection]:
        for _ in range(_ATTEMPTS):
            async with self._database.transaction() as session:
                # The projector waits meanwhile: what it has applied, and nothing else, can be missing here.
                locked = await read_projection(session, Stream.FINAL, lock=True)
                if locked.cursor == projection.cursor:
                    return await self._judge(session, policy_id, events.of(policy_id), quotes), projection
            projection = await self._read_on(events)
        raise Aborted("CURSOR_MOVED", "the projector goes on faster than the events are read")

    async def _judge(self, session: AsyncSession, policy_id: str, word: ChainWord, quotes: Quotes) -> Healed:
        try:
            async with session.begin_nested():
                return await self._put_right(session, policy_id, word, quotes)
        except (BitHedgeError, ValueError, IntegrityError) as error:
            reason = str(error).splitlines()[0][:300]
            get_logger().warning("events are refused", policy=policy_id, reason=reason)
            return Healed(policy_id, Outcome.REFUSED)

    async def _put_right(self, session: AsyncSession, policy_id: str, word: ChainWord, quotes: Quotes) -> Healed:
        before = await store.find(session, policy_id, lock=True)
        if before is not None:
            await _undo(session, before, word)
        created = word.created
        if created is None:
            after = await store.find(session, policy_id)
            changed = changed_fields(before, after) if before is not None and after is not None else ()
            return Healed(policy_id, Outcome.HEALED if changed else Outcome.NOT_ON_CHAIN, changed)
        if before is None:
            await restore(session, created, word, quotes.get(policy_id), adopted(created, policy_id, self._vault))
        else:
            await _correct(session, policy_id, word)
        for event in (created, word.end):
            if event is not None:
                await apply_final(session, event, event.burn_height, self._vault)
        after = await _write_proven(session, policy_id, created, word)
        changed = changed_fields(before or after, after)
        if after.state is PolicyState.FAILED_CREATION:
            return Healed(policy_id, Outcome.CREATED_AFTER_FAILURE, changed)
        if before is None:
            return Healed(policy_id, Outcome.RESTORED)
        return Healed(policy_id, Outcome.HEALED if changed else Outcome.NOTHING_MISSED, changed)

    async def _quotes_of_lost(self, events: FinalEvents, ids: Sequence[str]) -> Quotes:
        """What the gateway signed for those policies that are on chain and have no row."""
        async with self._database.transaction() as session:
            known = {policy.name for policy in await find_policies(session, ids)}
        lost = set(events.created()) - known
        quotes: dict[str, pb.SignedQuote] = {}
        request = pb.ListSignedQuotesRequest(page_size=_QUOTES)
        while lost:
            with remote_errors():
                page = await self._gateway.ListSignedQuotes(request)
            found = {quote.terms.policy: quote for quote in page.signed_quotes if quote.terms.policy in lost}
            quotes |= {parse_resource_name(COLLECTION, name): quote for name, quote in found.items()}
            lost -= found.keys()
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        return quotes


async def _undo(session: AsyncSession, policy: Policy, word: ChainWord) -> None:
    """Takes back, as the projector would have, what was withdrawn and still stands in the row."""
    for event in word.withdrawn:
        of_creation = event.HasField("policy_created")
        stands = policy.state in OPEN if of_creation else policy.state in (PolicyState.SETTLED, PolicyState.EXPIRED)
        if stands and event.txid == (policy.creation_txid if of_creation else policy.last_status_txid):
            await undo_final(session, event)
            policy = await store.lock(session, policy.id)


async def _correct(session: AsyncSession, policy_id: str, word: ChainWord) -> None:
    """Back to where the events left the policy before its end, if they refute where its row is."""
    policy = await store.lock(session, policy_id)
    history = (await store.read_history(session, [policy_id]))[policy_id]
    believed = believed_state(policy, history)
    origin = Origin(wall_now(), policy.creation_txid, policy.creation_burn_height)
    refuted = is_refuted(policy.state, history, word.end_state)
    if believed is not policy.state and (refuted or word.end is not None or believed not in OPEN):
        # Written by hand: nobody counted it. What follows is in the history, so that it is counted once.
        as_counted = counted(policy, believed, word.payout_counted(history[-1].txid))
        await add_figures(session, figures_of(as_counted, policy))
        if not refuted:
            await store.save(session, note(policy, Actor.PROJECTOR, Cause.PROVEN_BY_CHAIN, origin))
    if not refuted:
        return
    if believed in (PolicyState.SETTLED, PolicyState.EXPIRED):
        target = await reopened(session, policy, history[-1].from_state or PolicyState.ACTIVE)
    elif believed is PolicyState.EXPIRING:
        # Its batch may be gone: it is swept again.
        target = PolicyState.ACTIVE
    else:
        target = believed if believed in OPEN else PolicyState.PENDING_CREATION
    fields = open_fields(policy, target) if target in OPEN else {}
    await store.save(session, correct(policy, target, origin, **fields))


async def _write_proven(session: AsyncSession, policy_id: str, created: Event, word: ChainWord) -> Policy:
    """Each term and figure as the events say it; those of the platform were counted as the events said them."""
    policy = await store.lock(session, policy_id)
    proven = term_fields(created)
    if policy.state is not PolicyState.FAILED_CREATION:
        moving = creation_fields(created).items()
        proven |= {name: value for name, value in moving if name not in _MOVE_ON}
        proven |= _OPEN_SAYS
        if word.end is not None:
            proven |= end_fields(word.end)
    wrong = {name: value for name, value in proven.items() if getattr(policy, name) != value}
    if not wrong:
        return policy
    last = word.end or created
    origin = Origin(wall_now(), last.txid, last.burn_height)
    change = note(policy, Actor.PROJECTOR, Cause.PROVEN_BY_CHAIN, origin, **wrong)
    await add_figures(session, figures_of(change.after, policy))
    return await store.save(session, change)
