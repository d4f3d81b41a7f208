"""Several gateways on one database share the work, and one takes over what another had begun."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from kernel.ids import new_id
from services.chain_gateway.stacks.transaction import deserialize_transaction
from tests.integration.chain_gateway.scripted_gateway import ADDRESS, publish_call, scripted_settings, sent, until
from tests.integration.chain_gateway.scripted_node import scripted_node
from tests.integration.chain_gateway.world import running_gateway, write_key

_INTENTS = 40


async def test_two_replicas_share_two_keys(database_url: str, tmp_path: Path) -> None:
    """Forty intents, two replicas, two keys: each is sent once, no nonce is missing or taken twice, and the keys have
    about as many."""
    async with scripted_node() as node:
        node.add(1)
        one_key = scripted_settings(node, database_url, tmp_path)
        other = f"file:{write_key(tmp_path / 'other', 6)}"
        settings = replace(one_key, backend_signers=(*one_key.backend_signers, other))
        async with running_gateway(settings) as first, running_gateway(settings) as second:
            await first.tip(1)
            await second.tip(1)
            for number in range(_INTENTS):
                await (first, second)[number % 2].create_intent(new_id(), publish_call(number))
            await until(lambda: len(node.mempool) == _INTENTS)
    waiting = [deserialize_transaction(raw) for raw in node.mempool.values()]
    by_key = Counter(one.sender.text for one in waiting)
    assert len(by_key) == 2
    assert min(by_key.values()) >= _INTENTS // 4
    for address, count in by_key.items():
        assert sorted(one.nonce for one in waiting if one.sender.text == address) == list(range(count))
    assert len({one.payload for one in waiting}) == _INTENTS


async def test_what_a_dead_replica_had_signed_is_sent_by_another(database_url: str, tmp_path: Path) -> None:
    """Signed and stored, then nothing: another replica hands in the same bytes once the claim has run out."""
    async with scripted_node() as node:
        node.add(1)
        settings = scripted_settings(node, database_url, tmp_path)
        async with running_gateway(settings, only=("state", "pulse", "ingest")) as dead:
            await dead.tip(1)
            await dead.create_intent(new_id(), publish_call(1))
            [row] = await dead.gateway.dispatcher.allocation.sign_next(ADDRESS)
        async with running_gateway(settings) as heir:
            await heir.tip(1)
            await until(lambda: node.mempool)
    assert {one.txid for one in sent(node)} == {row.txid}
