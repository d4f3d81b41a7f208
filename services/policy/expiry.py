"""Expiry: the sweeper claims due policies in batches; a batch is read, and released if it was refused."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, Final

from bithedge.policy.v1 import policy_service_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.ids import new_id, parse_resource_name, resource_name
from kernel.lease import LeaderLease
from kernel.outbox import post
from kernel.temporal import START
from services.policy import convert, store
from services.policy.domain.policy import RETRY_EXPIRY_BLOCKS, Origin, Policy, move
from services.policy.domain.transitions import Actor, Cause
from services.policy.metrics import POLICIES
from services.policy.store_expiry import (
    COLLECTION,
    ExpiryBatch,
    crowded_heights,
    insert_batch,
    land_decided,
    lock_due,
    mark_released,
    read_batch,
    read_batch_policies,
    still_open,
)
from services.policy.store_figures import COUNT, FOLD, fold_figures, read_figures
from services.policy.store_projection import Stream, read_projection
from services.policy.tables import Outbox
from workflows.contract import ExpirePoliciesInput, start_expire_policies

_POLL_SECONDS: Final = 0.5
# What is not in a block after so long keeps its place no more: whatever holds it up may hold it for days.
_PATIENCE: Final = dt.timedelta(minutes=10)


class Sweeper:
    """Claims policies whose expiration and grace are final; of several replicas one sweeps.

    Of one expiration height so many batches are in flight at once, from the claim to the block that ends them: a
    transaction that cannot be sent yet is claimed no sooner, and a height that nobody can price holds up no other.
    """

    def __init__(self, database: Database, lease: LeaderLease, batches_at_once: int) -> None:
        self._database = database
        self._lease = lease
        self._batches_at_once = batches_at_once

    async def run(self) -> None:
        """Sweeps while the lease is held, until cancelled."""
        await self._lease.lead(self._work)

    async def _work(self) -> None:
        while True:
            # Also between batches: what is not folded yet is what reading the figures costs.
            while await self.claim_batch():
                await self._count()
            await self._count()
            await asyncio.sleep(_POLL_SECONDS)

    async def claim_batch(self) -> ExpiryBatch | None:
        """One batch: EXPIRING, its row and the start of its workflow in one transaction.

        None if none is due, or what is due has enough in flight.
        """
        async with self._database.transaction() as session:
            await self._lease.check(session)
            height = (await read_projection(session, Stream.FINAL)).delivered_burn_height
            await land_decided(session)
            crowded = await crowded_heights(session, self._batches_at_once, wall_now() - _PATIENCE)
            policies = await lock_due(session, height, crowded)
            if not policies:
                return None
            return await _claim(session, policies, height)

    async def _count(self) -> None:
        folded = FOLD
        while folded == FOLD:
            async with self._database.transaction() as session:
                folded = await fold_figures(session)
        async with self._database.reading() as session:
            figures = await read_figures(session)
        for (kind, key), value in figures.items():
            if kind == COUNT:
                POLICIES.labels(key).set(value)


async def _claim(session: AsyncSession, policies: list[Policy], height: int) -> ExpiryBatch:
    now = wall_now()
    batch = ExpiryBatch(new_id(), policies[0].expiration_burn_height, [policy.id for policy in policies], now)
    await insert_batch(session, batch)
    origin = Origin(now, burn_height=height)
    fields: dict[str, Any] = {"expiry_batch_id": batch.id, "expiry_checked_burn_height": height}
    changes = [move(policy, Actor.SWEEPER, Cause.EXPIRATION_FINAL, origin, **fields) for policy in policies]
    await store.save_all(session, changes)
    name = resource_name(COLLECTION, batch.id)
    start = start_expire_policies(ExpirePoliciesInput(name, batch.expiration_burn_height))
    await post(session, Outbox, START, start.workflow_id, start.payload())
    return batch


class Batches:
    """What workflows ask of a claimed batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> pb.ExpiryBatch:
        """The batch as it was claimed, and how many of its policies are still open."""
        batch_id = parse_resource_name(COLLECTION, name)
        async with self._database.transaction() as session:
            batch = await read_batch(session, batch_id)
            policies = await read_batch_policies(session, batch)
            return convert.batch_message(batch, policies, len(still_open(batch, policies)))

    async def release(self, name: str, reason: str) -> pb.ExpiryBatch:
        """What the chain has not decided goes back to ACTIVE; the same again changes nothing."""
        batch_id = parse_resource_name(COLLECTION, name)
        async with self._database.transaction() as session:
            height = (await read_projection(session, Stream.FINAL, lock=True)).delivered_burn_height
            batch = await read_batch(session, batch_id, lock=True)
            policies = await read_batch_policies(session, batch, lock=True)
            origin = Origin(wall_now(), burn_height=height)
            fields: dict[str, Any] = {
                "reason": reason,
                "expiry_batch_id": "",
                "due_burn_height": height + RETRY_EXPIRY_BLOCKS,
            }
            changes = [
                move(policy, Actor.WORKFLOW, Cause.BATCH_RELEASED, origin, detail=reason, **fields)
                for policy in still_open(batch, policies)
            ]
            await store.save_all(session, changes)
            if batch.release_time is None:
                await mark_released(session, batch, wall_now(), reason)
            return convert.batch_message(batch, policies, 0)
