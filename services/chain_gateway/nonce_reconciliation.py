"""Compares our ledger of nonces with the chain, at start and on a clock.

The truth is in the blocks that we ingested. A node's word on an account counts only while no block has a transaction of
it, and only when several answers in a row agree.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import Final

from kernel.clock import wall_now
from kernel.database import Database
from kernel.log import get_logger
from services.chain_gateway import store_chain, store_nonces, store_outcomes
from services.chain_gateway.hand_in import hand_in
from services.chain_gateway.keys import Keys
from services.chain_gateway.nodes import NodePool

_AGREEING: Final = 3
_NEAR_BLOCKS: Final = 3
_RESEND_SECONDS: Final = 5.0


class NonceReconciliation:
    """Work of the dispatcher between its steps."""

    def __init__(self, database: Database, nodes: NodePool, keys: Keys) -> None:
        self._database = database
        self._nodes = nodes
        self._keys = keys
        self._answers: dict[str, deque[int]] = {}
        self._caught_up = False

    async def is_ready(self) -> bool:
        """Whether ingestion has come near the top of the chain once since this process started: before that its blocks
        may not hold yet what others, or a database since lost, have done with our accounts."""
        if not self._caught_up:
            head = await self._nodes.ask(lambda node: node.block("latest"))
            async with self._database.transaction() as session:
                state = await store_chain.read_state(session)
            self._caught_up = (
                head is not None and state is not None and state.stacks_height >= head.height - _NEAR_BLOCKS
            )
        return self._caught_up

    async def run(self) -> None:
        """One pass over all accounts; Unavailable when a node is needed and none answers."""
        for address in self._keys.addresses:
            async with self._database.transaction() as session:
                await store_outcomes.settle_late(session, address)
            await self._hand_in_withdrawn(address)
        async with self._database.transaction() as session:
            unused = await store_nonces.of_unknown_past(session, self._keys.addresses)
            known = await store_nonces.chain_nonces(session, unused)
        for address in unused:
            await self._ask_base(address, known.get(address))

    async def _ask_base(self, address: str, known: int | None) -> None:
        account = await self._nodes.ask(lambda node: node.account(address))
        answers = self._answers.setdefault(address, deque(maxlen=_AGREEING))
        answers.append(account.nonce)
        if len(answers) < _AGREEING or len(set(answers)) > 1 or account.nonce == known:
            return
        async with self._database.transaction() as session:
            await store_nonces.set_base(session, address, account.nonce)
        get_logger().info("nonces start", address=address, nonce=account.nonce)

    async def _hand_in_withdrawn(self, address: str) -> None:
        """After a reorganisation deeper than finality: the same bytes again, so that the effects stay the same."""
        now = wall_now()
        async with self._database.transaction() as session:
            chain_nonce = (await store_nonces.chain_nonces(session, [address])).get(address)
            if chain_nonce is None:
                return
            rows = await store_nonces.withdrawn_ends(session, address, chain_nonce)
            rows = [row for row in rows if row.due_time <= now]
            for row in rows:
                row.due_time, row.sends = now + dt.timedelta(seconds=_RESEND_SECONDS), row.sends + 1
                session.add(row)
        for row in rows:
            answer = await hand_in(self._nodes, row)
            get_logger().error("a final transaction was withdrawn", txid=row.txid, taken=answer.taken)
