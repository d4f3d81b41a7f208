"""Every statement of the gateway goes by an index, on tables large enough that the planner would rather scan."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from services.chain_gateway import (
    store_chain,
    store_effects,
    store_events,
    store_intent_batches,
    store_intents,
    store_keys,
    store_nonces,
    store_outcomes,
    store_retained,
    store_signed,
    store_signing,
    store_sponsored,
    store_transactions,
    tables,
)
from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from services.chain_gateway.stacks.node_types import Block
from services.chain_gateway.tables import ChainTransaction, Intent, SignedQuote
from services.chain_gateway.tables_keys import SigningAudit
from tests.integration.chain_gateway.full_tables import (
    MIDDLE,
    ROWS,
    TIP_BURN_HEIGHT,
    Full,
    OverheardDatabase,
    fill,
    hash_of,
    name_of,
)
from tests.integration.policy.plans import functions_of, scanned, sent

STORES: Final = (
    store_chain,
    store_effects,
    store_events,
    store_intent_batches,
    store_intents,
    store_keys,
    store_nonces,
    store_outcomes,
    store_retained,
    store_signed,
    store_signing,
    store_sponsored,
    store_transactions,
)
# One row, or one for each of our keys.
SMALL: Final = {"chain_state", "signing_account", "backend_key"}
# What may read more than an index finds, and why that is right.
EXCEPTED: Final = {
    "store_events.history_faults": "reads the whole history, to say whether it is in order",
    "store_events.add_events": "a COPY, which has no plan",
    "store_retained.intents_of": "read by a rebuild from page to page to the end, once and not by each page",
    "store_effects.end_of": "looks for bytes in values, newest first, of what has ended just now",
    "store_events.final_events": "leaves out the newest events, those of some burn blocks, and none before them",
}
# These take what lies above a height, or after a time. Known to be near the tip it is found by an index, and a plan for
# any height is not used for it.
NEAR_TIP: Final = {
    "store_chain.withdraw_blocks_above",
    "store_signing.used",
    "store_events.withdraw_events_above",
    "store_transactions.withdraw_mined_above",
}
NOW: Final = wall_now()
ACCOUNT: Final = "account1"
OPEN: Final = 9_900
NEW: Final = ROWS + 1
SAID: Final = f"0x{hash_of(NEW)}"
NEW_BLOCK: Final = Block(NEW, SAID, SAID, SAID, SAID, 1, TIP_BURN_HEIGHT, SAID, 1, 0, canonical=True)
MINED: Final = store_transactions.Mined(hash_of(OPEN), "success", "(ok true)", hash_of(ROWS), ROWS, TIP_BURN_HEIGHT)
USE: Final = store_transactions.NonceUse(ACCOUNT, NEW, hash_of(NEW), hash_of(ROWS), ROWS, TIP_BURN_HEIGHT)
BATCHED: Final = store_intent_batches.NewIntent("x", "x", b"", "", "", "", "", b"", [], 0, NOW)
Case = Callable[[AsyncSession, OverheardDatabase], list[Awaitable[Any]]]


@pytest.fixture(scope="module")
async def full(module_database_url: str) -> AsyncIterator[Full]:
    """10,000 rows of everything that grows."""
    await fill(module_database_url)
    database = OverheardDatabase(module_database_url)
    yield Full(module_database_url, database)
    await database.close()


@pytest.mark.parametrize("name", [name for name in functions_of(STORES) if name not in EXCEPTED])
async def test_the_stores_never_read_a_large_table_from_end_to_end(full: Full, name: str) -> None:
    """Of each function of the stores every plan goes by an index."""
    full.database.plain.issued.clear()
    statements = await sent(full.database, lambda session: CASES[name](session, full.database))
    statements.issued.extend(full.database.plain.issued)
    assert statements.issued, f"{name} issued nothing"
    found = await scanned(full.url, statements, any_values=name not in NEAR_TIP)
    assert {statement: tables for statement, tables in found.items() if set(tables) - SMALL} == {}


def test_no_store_is_forgotten() -> None:
    """Every module of SQL is looked at, and nothing is excepted that is not there."""
    found = {path.stem for path in Path(inspect.getfile(store_chain)).parent.glob("store*.py")}
    assert found == {module.__name__.rpartition(".")[2] for module in STORES}
    assert set(EXCEPTED) <= set(functions_of(STORES))


def one(make: Callable[[AsyncSession], Awaitable[Any]]) -> Case:
    """A case of a single call in a session."""
    return lambda session, database: [make(session)]


async def intent(session: AsyncSession) -> Intent:
    """One that waits."""
    return await session.get_one(Intent, name_of(OPEN))


async def transaction(session: AsyncSession) -> ChainTransaction:
    """One that is open."""
    return await session.get_one(ChainTransaction, hash_of(OPEN))


async def save_state(session: AsyncSession) -> None:
    """The chain's state with another time."""
    state = await store_chain.lock_state(session)
    assert state
    state.refresh_time = NOW
    await store_chain.save_state(session, state)


async def with_block(session: AsyncSession, use: Callable[[tables.Block], Awaitable[Any]]) -> Any:
    """What `use` makes of a block of long ago."""
    found = await store_chain.canonical_block_by_hash(session, hash_of(MIDDLE))
    assert found
    return await use(found)


async def withdraw_events(session: AsyncSession) -> None:
    """The events of the newest blocks."""
    state = await store_chain.read_state(session)
    ancestor = await store_chain.highest_canonical(session, [hash_of(ROWS - 5), hash_of(MIDDLE)])
    assert state
    assert ancestor
    assert await store_events.withdraw_events_above(session, state, ancestor, 1) == 4


async def end_late(session: AsyncSession) -> None:
    """What lost the nonce that it was signed for."""
    row = await transaction(session)
    await store_outcomes.settle_late(session, row.sender)
    assert row.state == TransactionState.REPLACED


def another_transaction() -> ChainTransaction:
    """One of a user."""
    text: dict[str, Any] = dict.fromkeys(("prepared_id", "sender", "contract", "function"), "x")
    return ChainTransaction(**text, txid=hash_of(NEW), nonce=1, fee_ustx=1, raw=b"", state=1)


def another_intent() -> Intent:
    """One that nobody has asked for before."""
    text: dict[str, Any] = dict.fromkeys(("id", "key", "purpose", "created_by", "contract", "function"), "new")
    return Intent(**text, call=b"", payload=b"", post_conditions=[], priority=0, state=1)


def audit(reason: str) -> SigningAudit:
    """What was said of a subject."""
    text: dict[str, Any] = dict.fromkeys(("subject", "account", "what"), "x")
    return SigningAudit(
        **text, reason=reason, ustx=1, sats=1, content_sha256=b"", create_time=NOW, last_time=NOW, attempts=1
    )


def quote() -> SignedQuote:
    """Another one."""
    return SignedQuote(policy_id="x", terms=b"", signer=ACCOUNT, signature=bytes(65), expiration_burn_height=1)


CASES: Final[dict[str, Case]] = {
    "store_chain.read_state": one(store_chain.read_state),
    "store_chain.lock_state": one(store_chain.lock_state),
    "store_chain.save_state": one(save_state),
    "store_chain.highest_canonical": one(lambda s: store_chain.highest_canonical(s, [hash_of(MIDDLE)] * 100)),
    "store_chain.canonical_block_by_hash": one(lambda s: store_chain.canonical_block_by_hash(s, hash_of(MIDDLE))),
    "store_chain.put_blocks": one(lambda s: store_chain.put_blocks(s, [NEW_BLOCK])),
    "store_chain.canonical_blocks_between": one(
        lambda s: store_chain.canonical_blocks_between(s, MIDDLE, MIDDLE + 100)
    ),
    "store_chain.withdraw_blocks_above": one(lambda s: store_chain.withdraw_blocks_above(s, ROWS - 5)),
    "store_effects.published": one(lambda s: store_effects.published(s, [bytes(32)])),
    "store_events.canonical_events_between": one(
        lambda s: store_events.canonical_events_between(s, MIDDLE, MIDDLE + 100)
    ),
    "store_events.withdraw_events_above": one(withdraw_events),
    "store_events.events_at_tip": one(lambda s: store_events.events_at_tip(s, MIDDLE, 100)),
    "store_events.pending_events": one(lambda s: with_block(s, lambda found: store_events.pending_events(s, found, 6))),
    "store_events.last_sequence": one(lambda s: with_block(s, lambda found: store_events.last_sequence(s, found))),
    "store_intent_batches.count_queued": lambda s, d: [store_intent_batches.count_queued(d, 1_000)],
    "store_intent_batches.add_all": lambda s, d: [store_intent_batches.add_all(d, [BATCHED])],
    "store_intents.add": one(lambda s: store_intents.add(s, another_intent())),
    "store_intents.by_key": one(lambda s: store_intents.by_key(s, f"key/{MIDDLE}")),
    "store_intents.get": one(lambda s: store_intents.get(s, name_of(MIDDLE))),
    "store_intents.versions": lambda s, d: [store_intents.versions(d, [name_of(n) for n in range(1, 200)])],
    "store_intents.count_by_state": one(store_intents.count_by_state),
    "store_intents.lock_queued": lambda s, d: [
        store_intents.lock_queued(s, 25, sponsored=sponsored) for sponsored in (True, False)
    ],
    "store_intents.end_unsigned": one(
        lambda s: with_intent(s, lambda found: store_intents.end_unsigned(s, found, IntentState.CANCELLED, "x"))
    ),
    "store_intents.hold": one(lambda s: with_intent(s, lambda found: store_intents.hold(s, found, "x", NOW))),
    "store_intents.give_up": one(lambda s: store_intents.give_up(s, name_of(OPEN), "x")),
    "store_intents.explain": one(lambda s: store_intents.explain(s, name_of(OPEN), "x")),
    "store_intents.requeue": one(lambda s: store_intents.requeue(s, [name_of(OPEN)])),
    "store_keys.declare": one(lambda s: store_keys.declare(s, [ACCOUNT])),
    "store_keys.lock_all": one(store_keys.lock_all),
    "store_keys.all_keys": one(store_keys.all_keys),
    "store_keys.states": lambda s, d: [store_keys.states(d)],
    "store_keys.takes_work": one(lambda s: store_keys.takes_work(s, ACCOUNT)),
    "store_keys.open_transactions": one(lambda s: store_keys.open_transactions(s, ACCOUNT)),
    "store_keys.signatures_until": one(lambda s: store_keys.signatures_until(s, ACCOUNT)),
    "store_nonces.declare_accounts": one(lambda s: store_nonces.declare_accounts(s, ["x"], from_genesis=True)),
    "store_nonces.accounts": one(store_nonces.accounts),
    "store_nonces.lock_account": one(lambda s: store_nonces.lock_account(s, ACCOUNT)),
    "store_nonces.chain_nonces": one(lambda s: store_nonces.chain_nonces(s, [ACCOUNT, "account2"])),
    "store_nonces.of_unknown_past": one(lambda s: store_nonces.of_unknown_past(s, [ACCOUNT, "account2"])),
    "store_nonces.set_base": one(lambda s: store_nonces.set_base(s, ACCOUNT, 1)),
    "store_nonces.ledger": one(lambda s: store_nonces.ledger(s, ACCOUNT)),
    "store_nonces.withdrawn_ends": one(lambda s: store_nonces.withdrawn_ends(s, ACCOUNT, ROWS - 5)),
    "store_nonces.give": one(lambda s: store_nonces.give(s, ACCOUNT, {NEW: None})),
    "store_nonces.highest_fees": one(lambda s: store_nonces.highest_fees(s, ACCOUNT, [MIDDLE, NEW])),
    "store_nonces.take_back": one(lambda s: with_transaction(s, lambda row: store_nonces.take_back(s, [row]))),
    "store_nonces.free": one(lambda s: store_nonces.free(s, [name_of(MIDDLE)])),
    "store_nonces.anything_due": lambda s, d: [store_nonces.anything_due(d)],
    "store_nonces.claim_due": one(lambda s: store_nonces.claim_due(s, NOW, 25)),
    "store_outcomes.settle_final": one(lambda s: store_outcomes.settle_final(s, TIP_BURN_HEIGHT)),
    "store_outcomes.settle_late": one(end_late),
    "store_retained.signed_quotes": one(lambda s: store_retained.signed_quotes(s, name_of(MIDDLE), 100)),
    "store_retained.signed_vouchers": one(lambda s: store_retained.signed_vouchers(s, name_of(MIDDLE), 100)),
    "store_signed.put_first": one(lambda s: store_signed.put_first(s, quote())),
    "store_signed.quote": one(lambda s: store_signed.quote(s, name_of(MIDDLE))),
    "store_signed.voucher": one(lambda s: store_signed.voucher(s, name_of(MIDDLE))),
    "store_signing.lock": one(store_signing.lock),
    "store_signing.allowed": one(lambda s: store_signing.allowed(s, f"intents/{MIDDLE}")),
    "store_signing.allowed_among": one(lambda s: store_signing.allowed_among(s, [f"intents/{MIDDLE}"] * 25)),
    "store_signing.used": one(lambda s: store_signing.used(s, "quote", NOW, 100)),
    "store_signing.allow": one(lambda s: store_signing.allow(s, [audit("")])),
    "store_signing.refuse": one(lambda s: store_signing.refuse(s, audit("LIMIT"))),
    "store_sponsored.intent_of": one(lambda s: store_sponsored.intent_of(s, "x")),
    "store_sponsored.lock": one(lambda s: store_sponsored.lock(s, "SP1")),
    "store_sponsored.count_open": one(lambda s: store_sponsored.count_open(s, "SP2")),
    "store_sponsored.count_since": one(lambda s: store_sponsored.count_since(s, "SP2", NOW)),
    "store_transactions.get": one(lambda s: store_transactions.get(s, hash_of(MIDDLE))),
    "store_transactions.add_if_new": one(lambda s: store_transactions.add_if_new(s, another_transaction())),
    "store_transactions.of_intent": one(lambda s: store_transactions.of_intent(s, name_of(MIDDLE))),
    "store_transactions.known": one(lambda s: store_transactions.known(s, [hash_of(MIDDLE)] * 200)),
    "store_transactions.note_mined": one(lambda s: store_transactions.note_mined(s, [MINED])),
    "store_transactions.note_nonces": one(lambda s: store_transactions.note_nonces(s, [USE])),
    "store_transactions.withdraw_mined_above": one(lambda s: store_transactions.withdraw_mined_above(s, ROWS - 5)),
    "store_transactions.finalize": one(lambda s: store_transactions.finalize(s, TIP_BURN_HEIGHT)),
    "store_transactions.lock_open": one(lambda s: store_transactions.lock_open(s, hash_of(OPEN))),
    "store_transactions.update_open": one(
        lambda s: store_transactions.update_open(s, hash_of(OPEN), TransactionState.UNKNOWN, "x", NOW)
    ),
    "store_transactions.see_waiting": one(lambda s: store_transactions.see_waiting(s, [hash_of(OPEN)] * 25, NOW)),
    "store_transactions.has_successor": one(
        lambda s: with_transaction(s, lambda row: store_transactions.has_successor(s, row))
    ),
    "store_transactions.accept": one(lambda s: store_transactions.accept(s, [hash_of(OPEN)] * 25, NOW, ROWS)),
    "store_transactions.count_open": one(store_transactions.count_open),
}


async def with_intent(session: AsyncSession, call: Callable[[Intent], Awaitable[Any]]) -> None:
    """A call about one that waits."""
    await call(await intent(session))


async def with_transaction(session: AsyncSession, call: Callable[[ChainTransaction], Awaitable[Any]]) -> None:
    """A call about one that is open."""
    await call(await transaction(session))
