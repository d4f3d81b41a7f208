"""Fees: the node's estimate within the floor and cap of the settings, kept for a few seconds per function."""

from __future__ import annotations

import time
from typing import Final

from kernel.errors import Unavailable
from services.chain_gateway.contract_calls import Call
from services.chain_gateway.domain.contract_call import bounded_fee
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.stacks.node_types import FeeEstimate
from services.chain_gateway.tables import ChainTransaction

_KEPT_SECONDS: Final = 10.0
_ENVELOPE_BYTES: Final = 180
"""Everything of a transaction but its payload and post-conditions, rounded up."""


class Fees:
    """Suggests fees in uSTX."""

    def __init__(self, nodes: NodePool, floor_ustx: int, cap_ustx: int, sponsor_cap_ustx: int) -> None:
        self._nodes = nodes
        self.floor_ustx = floor_ustx
        self.cap_ustx = cap_ustx
        self.sponsor_cap_ustx = sponsor_cap_ustx
        self._kept: dict[tuple[str, str, int], tuple[float, int]] = {}

    @property
    def filler_ustx(self) -> int:
        """The fee of a transfer that only uses a nonce."""
        return bounded_fee(_ENVELOPE_BYTES, self.floor_ustx, self.cap_ustx)

    def cap_of(self, row: ChainTransaction) -> int:
        """The highest fee of a transaction: of a user's, what we pay for others."""
        return self.cap_ustx if row.origin is None else self.sponsor_cap_ustx

    async def suggest(self, call: Call) -> int:
        """A fee for a call. While no node answers it is the last one known, or the least that a node takes."""
        length = len(call.payload_bytes) + sum(map(len, call.post_condition_bytes)) + _ENVELOPE_BYTES
        key = (call.payload.contract_name, call.payload.function_name, length)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        try:
            estimate = await self._estimate(call, length)
        except Unavailable:
            return kept[1] if kept is not None else bounded_fee(length, self.floor_ustx, self.cap_ustx)
        # A node takes one uSTX per byte at least.
        wanted = max(length, estimate.middle_ustx if estimate else 0)
        fee = bounded_fee(wanted, self.floor_ustx, self.cap_ustx)
        if len(self._kept) > 1_000:
            self._kept.clear()
        self._kept[key] = (time.monotonic() + _KEPT_SECONDS, fee)
        return fee

    async def _estimate(self, call: Call, length: int) -> FeeEstimate | None:
        try:
            return await self._nodes.ask(lambda node: node.estimate_fee(call.payload, length))
        except NodeRefused:
            return None
