"""Differences that are planted for a reconciliation to find: what is planted, and what it should say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.ids import new_id
from kernel.units import Token
from tests.integration.pool import withdrawal_words
from tests.integration.pool.pool_service import OPERATOR, RunningPool, amount_of, provider


@dataclass(frozen=True)
class Scene:
    """Books with one provider and one open policy."""

    pool: RunningPool
    terms: transaction_pb2.QuoteTerms
    creation: event_pb2.ChainEvent


Plant = Callable[[Scene], Awaitable[None]]
Lie = Callable[[pb.CreateReconciliationRequest], None]


async def nothing(scene: Scene) -> None:
    """Plants nothing, corrects nothing."""


@dataclass(frozen=True)
class Case:
    """`found` are (kind, cause). Healed where `healed`; else a person's `correction`, or the end of the `lie`."""

    name: str
    found: frozenset[tuple[str, str]]
    healed: bool
    plant: Plant = nothing
    lie: Lie = lambda request: None
    correction: Plant = nothing


async def prepare(pool: RunningPool) -> Scene:
    """A priced deposit, and a policy that was reserved and created."""
    await pool.invest("SP-ALICE", 10**12)
    terms = pool.terms(1_000_000)
    await pool.reserve(terms)
    creation = pool.created(terms, 1)
    await pool.final(creation)
    return Scene(pool, terms, creation)


async def _overlook(scene: Scene, *events: event_pb2.ChainEvent) -> None:
    await scene.pool.final()
    scene.pool.gateway.overlook(*events)


async def _sql(scene: Scene, *statements: str) -> None:
    """What no process of ours can do: the triggers are off."""
    async with scene.pool.database.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await connection.execute(sa.text(statement))


async def missed_deposit(scene: Scene) -> None:
    """The ledger never saw a deposit, which comes after more events without entries than are healed at once."""
    prices = (scene.pool.gateway.event(price_published=event_pb2.PricePublished()) for _ in range(1_000))
    await _overlook(scene, *prices, scene.pool.deposited("SP-BOB", 7))


async def missed_creation(scene: Scene) -> None:
    """The ledger never saw a creation."""
    await _overlook(scene, scene.pool.created(scene.pool.terms(2_000_000), 2))


async def missed_settlement(scene: Scene) -> None:
    """The ledger never saw a settlement."""
    await _overlook(scene, scene.pool.settled(scene.terms, 1, 500))


async def missed_expiry(scene: Scene) -> None:
    """The ledger never saw an expiry."""
    await _overlook(scene, scene.pool.expired(scene.terms, 1))


async def missed_life(scene: Scene) -> None:
    """The ledger never saw a policy from creation to settlement."""
    terms = scene.pool.terms(2_000_000)
    await _overlook(scene, scene.pool.created(terms, 2), scene.pool.settled(terms, 2, 500))


async def missed_fees(scene: Scene) -> None:
    """The ledger never saw fees leave."""
    taken = event_pb2.FeesWithdrawn(amount=amount_of(Token.STX, 4))
    await _overlook(scene, scene.pool.gateway.event(fees_withdrawn=taken))


async def _voucher(scene: Scene) -> tuple[pb.Withdrawal, int]:
    asked = await withdrawal_words.request(scene.pool, 10**6)
    await withdrawal_words.price(scene.pool, asked)
    ready = await withdrawal_words.record(scene.pool, asked)
    return ready, ready.amount_base_units


async def missed_payment(scene: Scene) -> None:
    """The ledger never saw a voucher paid."""
    ready, amount = await _voucher(scene)
    await _overlook(scene, withdrawal_words.paid(scene.pool, ready, amount))


async def unexplained_payment(scene: Scene) -> None:
    """A settlement came while the policy's row was away: cash in suspense."""
    identifier = scene.terms.policy.removeprefix("policies/")
    await _sql(scene, f"UPDATE pool.coverage SET policy_id = 'away' WHERE policy_id = '{identifier}'")
    await scene.pool.final(scene.pool.settled(scene.terms, 1, 500))
    await _sql(scene, f"UPDATE pool.coverage SET policy_id = '{identifier}' WHERE policy_id = 'away'")


async def overdue_reservation(scene: Scene) -> None:
    """A quote that was never paid and nobody released."""
    await scene.pool.reserve(scene.pool.terms(2_000_000))
    await scene.pool.final(blocks=20)
    await _sql(scene, "UPDATE pool.reservation SET state = 'HELD' WHERE state = 'RELEASED'")


async def uncommitted_reservation(scene: Scene) -> None:
    """A creation whose reservation is still held."""
    await _sql(scene, "UPDATE pool.reservation SET state = 'HELD'")


async def empty_reservation(scene: Scene) -> None:
    """A reservation committed for a policy that nobody created."""
    await scene.pool.reserve(scene.pool.terms(2_000_000))
    await _sql(scene, "UPDATE pool.reservation SET state = 'COMMITTED'")


async def overdue_voucher(scene: Scene) -> None:
    """A voucher past its last height."""
    await _voucher(scene)
    await _sql(scene, "UPDATE pool.withdrawal SET last_use_burn_height = 1")


async def returned_deposit(scene: Scene) -> None:
    """A deposit came back in another block, and its row became another provider's."""
    event = scene.pool.deposited("SP-BOB", 10**6)
    await scene.pool.final(event)
    await scene.pool.final(_withdrawn(event))
    await scene.pool.final(event)
    await _sql(scene, "UPDATE pool.deposit SET provider = 'SP-MALLORY' WHERE id LIKE '%-%-1'")


async def changed_request(scene: Scene) -> None:
    """A request to burn shares became one of somebody who has none."""
    await withdrawal_words.request(scene.pool, 10**6)
    await _sql(scene, "UPDATE pool.withdrawal SET provider = 'SP-MALLORY'")


async def changed_voucher(scene: Scene) -> None:
    """A voucher that waits to be paid became another provider's."""
    await _voucher(scene)
    await _sql(scene, "UPDATE pool.withdrawal SET provider = 'SP-MALLORY'")


async def changed_return(scene: Scene) -> None:
    """The voucher of a deposit that is given back became another provider's."""
    event = scene.pool.deposited("SP-ALICE", 10**6)
    await scene.pool.final(event)
    asked = pb.CancelDepositRequest(
        request_id=new_id(), name=f"deposits/{event.txid}-{event.event_index}", public_key=b"\x02" * 33
    )
    await scene.pool.stub.CancelDeposit(asked, metadata=provider("SP-ALICE"))
    await _sql(scene, "UPDATE pool.withdrawal SET provider = 'SP-MALLORY'")


async def changed_payment(scene: Scene) -> None:
    """A withdrawal that was paid became another provider's, and of another tier."""
    ready, amount = await _voucher(scene)
    await scene.pool.final(withdrawal_words.paid(scene.pool, ready, amount))
    await _sql(scene, "UPDATE pool.withdrawal SET provider = 'SP-MALLORY', tier = 1")


async def refused_payment(scene: Scene) -> None:
    """A payment came while its row was another provider's: cash in suspense."""
    ready, amount = await _voucher(scene)
    await _sql(scene, "UPDATE pool.withdrawal SET provider = 'SP-MALLORY'")
    await scene.pool.final(withdrawal_words.paid(scene.pool, ready, amount))


async def stolen_shares(scene: Scene) -> None:
    """A deposit was another provider's row when it was priced."""
    event = scene.pool.deposited("SP-BOB", 10**6)
    await scene.pool.final(event)
    await _sql(scene, "UPDATE pool.deposit SET provider = 'SP-MALLORY' WHERE provider = 'SP-BOB'")
    await scene.pool.price(event)


async def withdrawn_creation(scene: Scene) -> None:
    """The chain took a creation back, and the ledger was not told."""
    await _overlook(scene, _withdrawn(scene.creation))


async def tell_withdrawal(scene: Scene) -> None:
    """The ledger is told that the chain took the creation back."""
    await scene.pool.final(_withdrawn(scene.creation))


def _withdrawn(event: event_pb2.ChainEvent) -> event_pb2.ChainEvent:
    message = event_pb2.ChainEvent()
    message.CopyFrom(event)
    message.withdrawn = True
    return message


def moved(from_account: str, to_account: str) -> Plant:
    """A person moves one base unit, rightly or wrongly."""

    async def plant(scene: Scene) -> None:
        request = pb.CreateCorrectionRequest(
            request_id=new_id(),
            from_account=from_account,
            to_account=to_account,
            amount=amount_of(Token.STX, 1),
            reason="planted, or put right",
        )
        await scene.pool.stub.CreateCorrection(request, metadata=OPERATOR)

    return plant


def executed(*statements: str) -> Plant:
    """SQL by hand."""

    async def plant(scene: Scene) -> None:
        await _sql(scene, *statements)

    return plant


async def rebuild_derived(scene: Scene) -> None:
    """What a person calls when a derived table is wrong."""
    async with scene.pool.database.engine.begin() as connection:
        await connection.execute(sa.text("SELECT pool.rebuild_derived()"))


def vault_owns(delta: int) -> Lie:
    """The vault owns more or less than it accounts for."""

    def lie(request: pb.CreateReconciliationRequest) -> None:
        request.contracts.balances[0].actual_base_units += delta

    return lie


def less_locked(request: pb.CreateReconciliationRequest) -> None:
    """The vault locks less than the registry's open policies claim."""
    request.contracts.balances[0].locked_base_units -= 1


def dearer(request: pb.CreateReconciliationRequest) -> None:
    """The policy service believes in another strike and another holder."""
    request.policies[0].terms.strike_price_usd_e8 += 1
    request.policies[0].terms.holder_principal = "SP-NOBODY"
