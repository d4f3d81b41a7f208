"""Effects among stored events: how final they are is said by the tip that was stored with them."""

from __future__ import annotations

import pytest

from kernel.clock import wall_now
from kernel.database import Database, migrate
from services.chain_gateway import store_chain, store_effects, store_events
from services.chain_gateway.domain.event_record import EventRecord
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.stacks.node_types import Block
from services.chain_gateway.store_effects import End
from services.chain_gateway.tables import SCHEMA, ChainState

_BLOCK = "b" * 64
_ID = bytes(range(16))


def _event(contract: str, topic: str, value: bytes, index: int) -> EventRecord:
    return EventRecord(_BLOCK, "c" * 64, 7, 107, wall_now(), "d" * 64, 0, index, "SP", 0, contract, topic, value)


@pytest.mark.parametrize(("tip", "confirmations"), [(107, 0), (109, 2)])
async def test_confirmations_are_those_under_the_stored_tip(database_url: str, tip: int, confirmations: int) -> None:
    """A publication and the end of a policy are found, with the burn blocks on top of them, and nothing else is."""
    await migrate(database_url, SCHEMA, MIGRATIONS)
    database, now = Database(database_url), wall_now()
    time = int(now.timestamp())
    block = Block(7, "c" * 64, _BLOCK, "a" * 64, "a" * 64, time, 107, "e" * 64, time, 3, canonical=True)
    state = ChainState(
        index_hash=_BLOCK,
        block_hash="c" * 64,
        stacks_height=7,
        burn_height=tip,
        burn_time=now,
        latest_sequence=3,
        refresh_time=now,
        advance_time=now,
    )
    events = [
        _event("oracle", store_effects.PUBLISHED, b"round", 0),
        _event("policy-registry", store_effects.SETTLED, b"of " + _ID + b" and more", 1),
        _event("policy-registry", "policy-created", b"of " + bytes(16), 2),
    ]
    async with database.transaction() as session:
        await store_chain.put_blocks(session, [block])
        await store_events.add_events(session, 1, events)
        await store_chain.save_state(session, state)
    async with database.reading() as session:
        assert await store_effects.published(session, [b"round", b"other"]) == {b"round": confirmations}
        assert await store_effects.end_of(session, _ID) == End(store_effects.SETTLED, confirmations)
        assert await store_effects.end_of(session, bytes(16)) is None
    await database.close()
