"""What passes in the flows of a policy. Bytes are hexadecimal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PolicyStep:
    """A step about one policy, `policies/{id}`."""

    policy: str


@dataclass(frozen=True)
class ReservationResult:
    """Whether the pool holds the capacity; the stable reason if it refused."""

    held: bool
    reason: str


@dataclass(frozen=True)
class RefuseCreationStep:
    """A creation of which nothing was signed."""

    policy: str
    reason: str


@dataclass(frozen=True)
class SignedQuote:
    """The quote's signature."""

    signature_hex: str


@dataclass(frozen=True)
class PrepareCreationStep:
    """The wallet's transaction for a signed quote; the key is empty when unknown."""

    policy: str
    signature_hex: str
    public_key_hex: str


@dataclass(frozen=True)
class PreparedTransaction:
    """A serialized bithedge.type.v1.PreparedTransaction."""

    prepared_hex: str


@dataclass(frozen=True)
class RecordQuoteStep:
    """What the policy service stores for the holder."""

    policy: str
    signature_hex: str
    prepared_hex: str


@dataclass(frozen=True)
class PolicyResult:
    """The state a policy is in after a step, without its enum prefix."""

    policy: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class ReceiptStep:
    """The recorded request that a receipt decides."""

    policy: str
    activation_number: int
    request_burn_height: int
    request_market_time: float


@dataclass(frozen=True)
class Receipt:
    """A serialized bithedge.type.v1.SettlementReceipt."""

    receipt_hex: str


@dataclass(frozen=True)
class RecordReceiptStep:
    """The receipt of one activation."""

    policy: str
    activation_number: int
    receipt_hex: str


@dataclass(frozen=True)
class ActivationDecision:
    """Whether the receipt is in the money."""

    in_the_money: bool
    state: str


@dataclass(frozen=True)
class RefusedSettlementStep:
    """An attempt that the contract refused for good."""

    policy: str
    activation_number: int
    contract_error: int
    reason: str


@dataclass(frozen=True)
class ExpiryReceiptStep:
    """One expiration height."""

    expiration_burn_height: int


@dataclass(frozen=True)
class ReleaseBatchStep:
    """A batch that the contract refused as a whole."""

    batch: str
    reason: str


@dataclass(frozen=True)
class BatchResult:
    """How many policies of a batch the chain has not decided."""

    open_count: int
