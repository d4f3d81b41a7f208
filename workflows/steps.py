"""What passes between workflows and activities: one dataclass in, one out; bytes as hexadecimal."""

from __future__ import annotations

import enum
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
class PublishedRounds:
    """Numbers of the published rounds that a settlement names beside its receipt."""

    btc_round: int
    stx_round: int


@dataclass(frozen=True)
class SettlementStep:
    """One attempt to settle, under its own idempotency key."""

    policy: str
    rounds: PublishedRounds
    key: str


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
class ExpiryStep:
    """One attempt to expire a batch, under its own idempotency key."""

    batch: str
    receipt_hex: str
    key: str


@dataclass(frozen=True)
class ReleaseBatchStep:
    """A batch that the contract refused as a whole."""

    batch: str
    reason: str


@dataclass(frozen=True)
class BatchResult:
    """How many policies of a batch the chain has not decided."""

    open_count: int


@dataclass(frozen=True)
class PublicationStep:
    """One round to publish; `feed` is the number of the Feed enum."""

    feed: int
    round: int
    key: str


class IntentMilestone(enum.StrEnum):
    """How far an intent is followed."""

    # In a block: enough for what a reorganisation cannot harm.
    MINED = "MINED"
    # Ended: confirmed or aborted at finality, or cancelled.
    ENDED = "ENDED"


@dataclass(frozen=True)
class Intent:
    """An accepted intent, `intents/{id}`."""

    name: str


@dataclass(frozen=True)
class FollowIntentStep:
    """An intent and how far to follow it."""

    name: str
    milestone: IntentMilestone


@dataclass(frozen=True)
class IntentOutcome:
    """How an intent ended (`CONFIRMED`, `ABORTED`, `CANCELLED`), or `SUBMITTED` where it was only mined.

    `REFUSED` where the intent was never accepted.
    """

    state: str
    txid: str
    contract_error: int
    reason: str


@dataclass(frozen=True)
class RecordPublicationStep:
    """How a publication ended."""

    feed: int
    round: int
    confirmed: bool
    txid: str
    reason: str


@dataclass(frozen=True)
class DepositStep:
    """`deposits/{id}`."""

    deposit: str


@dataclass(frozen=True)
class DepositResult:
    """Shares issued for a deposit."""

    shares: int


@dataclass(frozen=True)
class WithdrawalStep:
    """`withdrawals/{id}`."""

    withdrawal: str


@dataclass(frozen=True)
class PricedWithdrawal:
    """A priced withdrawal with its serialized voucher terms, or the stable reason of its refusal."""

    priced: bool
    reason: str
    voucher_terms_hex: str
    public_key_hex: str


@dataclass(frozen=True)
class VoucherStep:
    """Voucher terms to sign."""

    voucher_terms_hex: str


@dataclass(frozen=True)
class SignedVoucher:
    """The voucher's signature."""

    signature_hex: str


@dataclass(frozen=True)
class PrepareWithdrawalStep:
    """The wallet's transaction for a signed voucher."""

    voucher_terms_hex: str
    signature_hex: str
    public_key_hex: str


@dataclass(frozen=True)
class RecordVoucherStep:
    """What the pool stores for the provider."""

    withdrawal: str
    signature_hex: str
    prepared_hex: str


@dataclass(frozen=True)
class WithdrawalResult:
    """The state a withdrawal is in after a step, without its enum prefix."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class ReconciliationStep:
    """`reconciliations/{id}`."""

    reconciliation: str


@dataclass(frozen=True)
class ReconciliationResult:
    """What a reconciliation found."""

    reconciliation: str
    differences: int
    policies_compared: int
