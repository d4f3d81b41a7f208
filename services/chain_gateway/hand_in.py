"""Hands one signed transaction to a node, and says what is known after that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel.errors import Unavailable
from kernel.log import get_logger
from services.chain_gateway import metrics
from services.chain_gateway.domain.rejection import Remedy, remedy
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import BroadcastRejected, NodeRefused
from services.chain_gateway.tables import ChainTransaction

CLAIM_SECONDS: Final = 5.0
"""How long whoever stored or claimed a transaction has it for itself; then any replica may hand it in."""


@dataclass(frozen=True)
class Rejection:
    """A node's refusal of a broadcast."""

    reason: str
    remedy: Remedy
    expected_fee_ustx: int = 0


@dataclass(frozen=True)
class Answer:
    """What came of handing in: taken, refused, or nobody knows. `asked`: how many nodes were given it."""

    rejection: Rejection | None
    failure: str
    asked: int

    @property
    def taken(self) -> bool:
        """Whether a node said that it has it."""
        return self.rejection is None and not self.failure


async def hand_in(nodes: NodePool, row: ChainTransaction) -> Answer:
    """Broadcasts a stored transaction; never raises for what nodes do."""
    asked = 0

    async def broadcast(node: StacksNode) -> str:
        nonlocal asked
        asked += 1
        return await node.broadcast(row.raw)

    try:
        await nodes.ask(broadcast)
    except BroadcastRejected as error:
        metrics.REJECTIONS.labels(error.reason).inc()
        get_logger().warning("broadcast rejected", txid=row.txid, reason=error.reason)
        expected = error.reason_data.get("expected")
        fee = expected if error.reason == "FeeTooLow" and isinstance(expected, int) else 0
        return Answer(Rejection(error.reason, _remedy(row, error), fee), "", asked)
    except (Unavailable, NodeRefused) as error:
        return Answer(None, str(error)[:200] or "no answer", asked)
    return Answer(None, "", asked)


def _remedy(row: ChainTransaction, error: BroadcastRejected) -> Remedy:
    """As the reason says; but a user who used their nonce elsewhere has made what we sponsor impossible."""
    used_by_user = row.origin is not None and error.reason == "BadNonce" and error.reason_data.get("is_origin") is True
    return Remedy.CANCEL if used_by_user else remedy(error.reason)
