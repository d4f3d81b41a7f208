"""What can go wrong when a Stacks node is asked.

NodeError
├── NodeUnavailable      no usable answer: ask again, or ask another node
│   ├── NodeBusy         it wants fewer questions, and says for how long
│   └── NodeBehind       it does not know the block yet at which it was asked
└── NodeRefused          the node answered and says no; asking again changes nothing
    ├── NodeNotFound     it does not know what was asked for
    ├── ReadRefused      a read-only call that could not be evaluated
    └── BroadcastRejected  a transaction that it does not take
"""

from __future__ import annotations

from typing import Any


class NodeError(Exception):
    """A question to a Stacks node without the wanted answer."""


class NodeUnavailable(NodeError):
    """No answer in time, an answer of overload or failure, or one that makes no sense.

    After a broadcast this leaves open whether the node took the transaction: its id decides, later.
    """


class NodeBusy(NodeUnavailable):
    """The node answered 429. `retry_after_seconds` is what it asks for, 1 where it does not say."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"the node answered 429: it wants to be asked again after {retry_after_seconds:.0f} s")
        self.retry_after_seconds = retry_after_seconds


class NodeBehind(NodeUnavailable):
    """The node lacks the block at which it was asked; another node may have it. It is not broken."""


class NodeRefused(NodeError):
    """The node understood and refused; `status` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the node refused ({status}): {text}")
        self.status = status
        self.text = text


class NodeNotFound(NodeRefused):
    """The node does not know the transaction, block, or account."""


class ReadRefused(NodeRefused):
    """A read-only call that the node could not evaluate; `cause` is what the Clarity VM said."""

    def __init__(self, cause: str) -> None:
        super().__init__(200, cause)
        self.cause = cause


class BroadcastRejected(NodeRefused):
    """A transaction that the node does not take.

    `reason` is the node's own code, such as ``BadNonce``, ``ConflictingNonceInMempool``, ``FeeTooLow``,
    ``NotEnoughFunds`` or ``TooMuchChaining``; `reason_data` its details, often the expected and actual value.
    """

    def __init__(self, reason: str, reason_data: dict[str, Any], txid: str | None) -> None:
        super().__init__(400, reason)
        self.reason = reason
        self.reason_data = reason_data
        self.txid = txid
