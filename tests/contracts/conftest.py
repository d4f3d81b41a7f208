"""One VM for all contract tests; each test that asks for `chain` gets a new chain in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.chain import BTC, SBTC, STX, STX_FEED, USD, Chain
from tests.contracts.vm import VM


@pytest.fixture(scope="session")
def vm() -> Iterator[VM]:
    """The Clarity VM's process."""
    with VM() as running:
        yield running


@pytest.fixture
def chain(vm: VM) -> Chain:
    """The contracts just deployed, nothing published, nothing deposited."""
    return Chain(vm).start()


def open_market(chain: Chain) -> Chain:
    """BTC at 50,000 and STX at 1 published, and a pool of 100,000 STX and 2 sBTC."""
    chain.publish(BTC, 50_000 * USD)
    chain.publish(STX_FEED, 1 * USD)
    chain.deposit(STX, 100_000_000_000).expect()
    chain.deposit(SBTC, 200_000_000).expect()
    return chain


@pytest.fixture
def market(chain: Chain) -> Chain:
    """A new chain with prices and a pool."""
    return open_market(chain)


@pytest.fixture(scope="module")
def refusing(vm: VM) -> Chain:
    """A market shared by a module whose tests change nothing, because every call in them is refused."""
    return open_market(Chain(vm).start())
