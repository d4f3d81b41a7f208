"""What each public function costs by the VM's own accounting, in parts of what a block may cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.contracts.access import RULES, started
from tests.contracts.chain import ACTIVE, EXPIRED, REGISTRY, SBTC, SETTLED, STX, USD, Chain, plain
from tests.contracts.saved import Saved
from tests.contracts.vm import VM

# Stacks epoch 3.3 on the main network, as since epoch 2.05 (SIP-012); since epoch 3.0 the blocks of a tenure share it.
BLOCK_LIMIT: Final = {
    "runtime": 5_000_000_000,
    "read_count": 15_000,
    "read_length": 100_000_000,
    "write_count": 15_000,
    "write_length": 15_000_000,
}
BATCH: Final = 200
_TOKENS: Final = {STX: "STX", SBTC: "sBTC"}


@dataclass(frozen=True)
class Cost:
    """One measured call."""

    contract: str
    what: str
    costs: Mapping[str, int]

    @property
    def largest(self) -> tuple[str, float]:
        """The dimension that fills a block first, and the part of it that the call takes."""
        parts = {name: self.costs[name] / limit for name, limit in BLOCK_LIMIT.items()}
        name = max(parts, key=lambda one: parts[one])
        return name, parts[name]


def measured(vm: VM) -> Iterator[Cost]:
    """Every public function called by whom it is for, each on the same chain; then batches of 200 policies."""
    cast = started(vm)
    start = Saved(cast.chain)
    for rule in RULES:
        for token in (STX, SBTC) if rule.by_token else (STX,):
            if rule.may:
                start.back()
                result = cast.call(rule.rightful, rule, token)
                result.expect()
                what = f"`{rule.function}`" + (f", {_TOKENS[token]}" if rule.by_token else "")
                yield Cost(rule.contract, what, result.costs)
    start.back()
    yield from _batches(cast.chain)


def _batches(chain: Chain) -> Iterator[Cost]:
    before = Saved(chain)
    in_stx = _policies(chain, STX)
    yield _batch(chain, in_stx, "paid in STX", 45_000)
    opted_out = _policies(before.back(), SBTC, **{"auto-settle": False})
    yield _batch(chain, opted_out, "in the money and opted out", 45_000)
    in_sbtc = _policies(before.back(), SBTC)
    sold = Saved(chain)
    yield _batch(chain, in_sbtc, "paid in sBTC", 45_000)
    yield _batch(sold.back(), in_sbtc, "expired", 50_000)
    yield _batch(sold.back(), in_sbtc, "refused, not due", 50_000, blocks=0)
    sold.back().vm.mine_burn(144 + 1009)
    result = chain.call(chain.stranger, REGISTRY, "expire-abandoned-policies", in_sbtc)
    assert {one["status"] for one in plain(result.expect())} == {EXPIRED}
    yield Cost(REGISTRY, f"`expire-abandoned-policies`, {BATCH} ids", result.costs)


def _policies(chain: Chain, token: int, **terms: Any) -> list[int]:
    chain.deposit(token, 10**13 if token == STX else 10**10).expect()
    return [chain.create(token, **terms) for _ in range(BATCH)]


def _batch(chain: Chain, ids: list[int], what: str, price: int, blocks: int = 144 + 7) -> Cost:
    expiration = chain.policy(ids[0])["expiration-burn-height"]
    chain.vm.mine_burn(blocks)
    result = chain.expire(chain.backend, ids, chain.expiry_receipt(expiration, price * USD))
    ends = {one["status"] for one in plain(result.expect())}
    assert ends == {SETTLED if what.startswith("paid") else EXPIRED if blocks else ACTIVE}
    return Cost(REGISTRY, f"`expire-policies`, {BATCH} ids, all {what}", result.costs)
