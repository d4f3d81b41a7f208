"""Reservations: exact under concurrency, once per policy."""

from __future__ import annotations

from kernel.database import Database
from kernel.errors import AlreadyExists, FailedPrecondition, NotFound
from services.pool import store, store_coverage, tables
from services.pool.domain.collateral import (
    Refusal,
    ReservationState,
    ReservationTerms,
    UnpaidLimits,
    judge_reservation,
)
from services.pool.market import ChainParameters


class Capacity:
    """Gives out what tiers may still write."""

    def __init__(self, database: Database, parameters: ChainParameters, limits: UnpaidLimits) -> None:
        self._database = database
        self._parameters = parameters
        self._limits = limits

    async def reserve(self, terms: ReservationTerms, terms_sha256: bytes) -> tables.Reservation:
        """The reservation of a policy: new, HELD or REFUSED with a reason, or as it was first answered.

        AlreadyExists if the policy was reserved for with other terms.
        """
        parameters = await self._parameters.tier(terms.tier)
        async with self._database.transaction() as session:
            await store_coverage.lock_principal(session, terms.holder)
            await store.lock_tiers(session, terms.tier, terms.token)
            stored = await store_coverage.get_reservation(session, terms.policy_id)
            if stored is not None:
                if stored.terms_sha256 != terms_sha256:
                    raise AlreadyExists("RESERVATION_DIFFERS", "the policy is reserved for with other terms")
                return stored
            cursor = await store.read_cursor(session)
            refusal = (
                Refusal.POOL_HALTED
                if cursor.halt_reason
                else judge_reservation(
                    terms,
                    await store.tier_books(session, terms.tier, terms.token),
                    await store_coverage.count_unpaid(session, terms.holder, terms.tier, terms.token),
                    self._limits,
                    parameters,
                    cursor.projected_burn_height,
                )
            )
            return store_coverage.add_reservation(session, terms, terms_sha256, refusal)

    async def cancel(self, policy_id: str) -> tables.Reservation:
        """Releases a HELD reservation on the caller's word that no quote was signed for it.

        The pool cannot know what the gateway signed; a signed quote may still be paid, and its reservation then ends
        by the projector alone. What has ended stays as it is; FailedPrecondition for a COMMITTED one.
        """
        async with self._database.transaction() as session:
            row = await store_coverage.get_reservation(session, policy_id, lock=True)
            if row is None:
                raise NotFound("RESERVATION_UNKNOWN", "there is no reservation for this policy")
            if row.state == ReservationState.COMMITTED:
                raise FailedPrecondition("RESERVATION_COMMITTED", "the policy is on chain")
            if row.state == ReservationState.HELD:
                await store_coverage.end_reservation(session, policy_id, ReservationState.RELEASED, "CANCELLED")
            return row
