"""The outside wallet for tests; the driver itself lies beside the wallet because the demo needs it too."""

from __future__ import annotations

from deploy.wallet.driver import (
    Account,
    Signature,
    SignedTransaction,
    TransactionRejected,
    Wallet,
    WalletError,
)

__all__ = ["Account", "Signature", "SignedTransaction", "TransactionRejected", "Wallet", "WalletError"]
