"""Vouchers for withdrawals, as the backend signs them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.contracts.chain import VAULT, Actor, Chain, Principal, Signed
from tests.contracts.vm import CallResult


def voucher(chain: Chain, token: int, amount: int, **changes: Any) -> Signed:
    """A voucher for the provider under a new id, signed by the backend."""
    chain.counter += 1
    message = {
        "voucher-id": sha256(f"voucher {chain.counter}".encode()).digest()[:16],
        "provider": Principal(chain.provider.address),
        "token": token,
        "amount": amount,
        "expiry-burn-height": chain.height + 6,
    } | changes
    return chain.sign(chain.backend, "bithedge-voucher", VAULT, message)


def withdraw(chain: Chain, signed: Signed, sender: Actor | None = None) -> CallResult:
    """Presents a voucher, as the provider unless told otherwise."""
    return chain.call(sender or chain.provider, VAULT, "withdraw-from-pool", signed.message, signed.signature)
