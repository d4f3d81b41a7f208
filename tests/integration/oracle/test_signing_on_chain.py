"""The contracts on the real Clarity VM take what the oracle signs, and nothing that was changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.oracle.signing import (
    ACTIVATION_RECEIPT,
    EXPIRY_RECEIPT,
    PRICE_ROUND,
    ContractAddress,
    OracleSigner,
)
from tests.contracts.chain import BTC, CHAIN_ID, EXPIRED, SBTC, SETTLED, STX, STX_FEED, USD, Chain, Signed, refused
from tests.contracts.vm import VM

ERR_INVALID_SIGNATURE = 2006


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """A chain with a pool; prices are still to be published."""
    with VM() as vm:
        chain = Chain(vm).start()
        chain.deposit(STX, 100_000_000_000).expect()
        chain.deposit(SBTC, 200_000_000).expect()
        yield chain


def _signed(chain: Chain, kind: str, message: dict[str, Any]) -> Signed:
    deployer = ContractAddress(chain.admin.address, "testnet")
    signer = OracleSigner(chain.oracle.key.secret, CHAIN_ID, deployer)
    return Signed(message, signer.sign(kind, message))


def _publish(chain: Chain, feed: str, price_e8: int) -> None:
    unsigned = chain.round(feed, price_e8).message
    signed = _signed(chain, PRICE_ROUND, unsigned)
    chain.ok(chain.backend, "oracle", "publish-price", signed.message, signed.signature)
    assert chain.read("oracle", "get-latest-price", feed) == unsigned


def test_the_contracts_take_rounds_and_receipts(chain: Chain) -> None:
    """Rounds of both feeds are published, a policy is settled on an activation receipt and others expire on a
    height's receipt, each by our signature."""
    _publish(chain, BTC, 50_000 * USD)
    _publish(chain, STX_FEED, 1 * USD)
    activated, expiring = chain.create(SBTC), chain.create(STX)
    expiration = chain.policy(expiring)["expiration-burn-height"]
    _publish(chain, BTC, 47_000 * USD)
    message = chain.receipt(chain.policy(activated)["policy-id"], 47_000 * USD).message
    receipt = _signed(chain, ACTIVATION_RECEIPT, message)
    chain.settle(chain.backend, activated, receipt).expect()
    assert chain.policy(activated)["status"] == SETTLED
    chain.vm.mine_burn(160)
    receipt = _signed(chain, EXPIRY_RECEIPT, chain.expiry_receipt(expiration, 49_000 * USD).message)
    chain.expire(chain.backend, [expiring], receipt).expect()
    assert chain.policy(expiring)["status"] == EXPIRED


def test_a_changed_round_is_refused(chain: Chain) -> None:
    """A price one unit higher than the signed one is not the oracle's."""
    signed = _signed(chain, PRICE_ROUND, chain.round(BTC, 47_000 * USD).message)
    changed = signed.message | {"price-e8": 47_000 * USD + 1}
    result = chain.call(chain.backend, "oracle", "publish-price", changed, signed.signature)
    assert refused(result) == ERR_INVALID_SIGNATURE
