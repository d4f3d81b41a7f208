"""What passes in the flows of the pool. Bytes are hexadecimal."""

from __future__ import annotations

from dataclasses import dataclass


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
    # Where it ended when it is not priced.
    state: str = "REFUSED"


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
