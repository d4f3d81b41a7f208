"""Money rules on random inputs: the contract's formulas are the kernel's, and the vault is solvent after any calls."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.units import Token, max_payout, payout
from tests.contracts.chain import (
    ACTIVE,
    REGISTRY,
    SBTC,
    STX,
    USD,
    VAULT,
    Chain,
    Principal,
    plain,
)
from tests.contracts.vm import VM, CallResult

SEED = 1
SAME_CHAIN = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
PRICES = st.integers(1_000 * USD, 1_000_000 * USD)
STX_PRICES = st.integers(USD // 100, 1_000 * USD)
TOKENS = st.sampled_from([STX, SBTC])


@settings(max_examples=300, deadline=None, suppress_health_check=SAME_CHAIN)
@given(
    token=TOKENS,
    amount=st.integers(1, 1_000 * USD),
    strike=PRICES,
    floor_bps=st.integers(1_000, 9_900),
    stx=STX_PRICES,
    haircut=st.integers(0, 9_000),
    btc_now=st.integers(1, 2_000_000 * USD),
    stx_now=STX_PRICES,
)
def test_the_contracts_formulas_are_the_kernels(
    refusing: Chain, token: int, amount: int, strike: int, floor_bps: int, stx: int, haircut: int, btc_now: int,
    stx_now: int,
) -> None:  # fmt: skip
    """max-payout and payout agree with kernel.units to the base unit, and no payout exceeds its collateral."""
    floor = strike * floor_bps // 10_000
    most = max_payout(Token(token), amount, strike, floor, stx, haircut)
    assert refusing.read(REGISTRY, "max-payout-of", token, amount, strike, floor, stx, haircut) == most
    paid = payout(Token(token), amount, strike, floor, btc_now, stx_now, most)
    assert refusing.read(REGISTRY, "payout-of", token, amount, strike, floor, most, btc_now, stx_now) == paid
    assert 0 <= paid <= most


class Walk:
    """Random calls against one new chain; after each, the books are compared with what the events said."""

    def __init__(self, vm: VM, seen: Counter[str]) -> None:
        self.chain = Chain(vm).start()
        self.seen = seen
        self.accounted = {STX: 0, SBTC: 0}
        self.open: list[int] = []
        self.price(50_000, 100)

    def step(self, name: str, *args: Any) -> None:
        """Takes one step, successful or refused, and checks every invariant."""
        getattr(self, name)(*args)
        self.check()

    def note(self, name: str, result: CallResult) -> None:
        """Counts what happened and books the token movements that the events report."""
        self.seen[name if result.ok else f"{name} refused"] += 1
        for event in result.events:
            one = plain(event.value) if event.value is not None else {}
            match one.get("topic"):
                case "deposit":
                    self.accounted[one["token"]] += one["amount"]
                case "withdrawal" | "fees-withdrawn":
                    self.accounted[one["token"]] -= one["amount"]
                case "collateral-locked":
                    self.accounted[one["token"]] += one["premium"] + one["fee"]
                case "payout":
                    self.accounted[one["token"]] -= one["payout"]
                case "policy-settled" | "policy-expired" | "policy-refused" as topic:
                    self.seen[topic] += 1

    def check(self) -> None:
        """Sum of max-payout of open policies = locked <= accounted - fees, and accounted <= balance."""
        count = self.chain.read(REGISTRY, "get-policy-counter")
        entries = self.chain.read(REGISTRY, "get-policies", list(range(1, count + 1))) if count else []
        self.open = [number for number, one in enumerate(entries, 1) if one["status"] == ACTIVE]
        for token in (STX, SBTC):
            pool = self.chain.pool(token)
            open_ones = [one for one in entries if one["token"] == token and one["status"] == ACTIVE]
            assert pool["locked"] == sum(one["max-payout"] for one in open_ones)
            assert pool["locked"] <= pool["accounted"] - pool["fees"]
            assert pool["accounted"] == self.accounted[token] <= pool["balance"]

    def price(self, usd: int, cents: int) -> None:
        """Publishes both feeds."""
        self.btc, self.stx = usd * USD, cents * USD // 100
        self.publish()

    def publish(self) -> None:
        """Publishes the prices of now in a new burn block."""
        self.chain.publish_both(self.btc, self.stx)
        self.published = self.chain.height

    def wait(self, blocks: int) -> None:
        """Lets burn blocks pass."""
        self.chain.vm.mine_burn(blocks)

    def deposit(self, token: int, thousandths: int) -> None:
        """A deposit of up to 100,000 STX or 1 BTC."""
        self.note("deposit", self.chain.deposit(token, thousandths * (10**8 if token == STX else 10**5)))

    def create(self, token: int, sats: int, strike_bps: int, floor_bps: int) -> None:
        """Buys a policy of a few hours at a generous premium."""
        if self.chain.height > self.published + 6:
            self.publish()
        strike = self.btc * strike_bps // 10_000
        terms = {
            "amount-sats": sats,
            "strike-price-e8": strike,
            "floor-price-e8": strike * floor_bps // 10_000,
            "btc-price-e8": self.btc,
            "stx-price-e8": self.stx,
            "premium": sats // 5 if token == SBTC else sats * self.btc // (500 * self.stx),
            "expiration-burn-height": (self.chain.height // 10 + 3) * 10,
        }
        quote = self.chain.quote(token, **terms)
        self.note("create", self.chain.pay_quote(self.chain.holder, quote))

    def settle(self, pick: int) -> None:
        """Activates some policy at the last price, mostly an open one."""
        count = self.chain.read(REGISTRY, "get-policy-counter")
        if count:
            choice = self.open if self.open and pick % 4 else list(range(1, count + 1))
            if self.chain.height > self.published + 2:
                self.publish()
            number = choice[pick % len(choice)]
            receipt = self.chain.receipt(self.chain.policy(number)["policy-id"], self.btc, self.stx)
            self.note("settle", self.chain.settle(self.chain.backend, number, receipt))

    def expire(self, pick: int, in_time: int) -> None:
        """Ends everything that shares some policy's expiration height, due or not, on the last price."""
        count = self.chain.read(REGISTRY, "get-policy-counter")
        if count:
            expiration = self.chain.policy(pick % count + 1)["expiration-burn-height"]
            if in_time:
                self.wait(max(1, expiration + 7 - self.chain.height))
            receipt = self.chain.expiry_receipt(expiration, self.btc, self.stx)
            self.note("expire", self.chain.expire(self.chain.backend, list(range(count + 2)), receipt))

    def withdraw(self, token: int, thousandths: int) -> None:
        """Presents a voucher for some part of all that is accounted."""
        self.chain.counter += 1
        message = {
            "voucher-id": sha256(f"voucher {self.chain.counter}".encode()).digest()[:16],
            "provider": Principal(self.chain.provider.address),
            "token": token,
            "amount": self.accounted[token] * thousandths // 1_000,
            "expiry-burn-height": self.chain.height,
        }
        signed = self.chain.sign(self.chain.backend, "bithedge-voucher", VAULT, message)
        args = (signed.message, signed.signature)
        self.note("withdraw", self.chain.call(self.chain.provider, VAULT, "withdraw-from-pool", *args))

    def fees(self, token: int) -> None:
        """The admin takes the fees there are."""
        args = (token, self.chain.pool(token)["fees"], Principal(self.chain.admin.address))
        self.note("fees", self.chain.call(self.chain.admin, VAULT, "withdraw-fees", *args))

    def gift(self, ustx: int) -> None:
        """STX that arrives past the vault's functions."""
        vault = self.chain.vm.contract(VAULT)
        self.chain.vm.transfer(self.chain.stranger.address, vault, ustx).expect()


# A step's name, and what each of its arguments is drawn from.
CREATE = ("create", (STX, SBTC), range(1_000, 20_000_001), range(9_500, 10_301), range(6_000, 9_501))
DEPOSIT = ("deposit", (STX, SBTC), range(1, 1_001))
STEPS: tuple[tuple[Any, ...], ...] = (
    CREATE,
    CREATE,
    CREATE,
    DEPOSIT,
    ("price", range(36_000, 60_001), range(80, 131)),
    ("wait", range(1, 31)),
    ("settle", range(31)),
    ("settle", range(31)),
    ("settle", range(31)),
    ("expire", range(31), (0, 0, 1)),
    ("expire", range(31), (0, 0, 1)),
    ("withdraw", (STX, SBTC), range(1, 1_201)),
    ("fees", (STX, SBTC)),
    ("gift", range(1, 10**9)),
)
WALKS = 30


def test_the_vault_is_solvent_after_any_sequence() -> None:
    """Whatever is called in whatever order, per token the invariants hold after every single call."""
    # A VM of its own: how much the walks reach then depends on no test before it.
    with VM() as vm:
        _check_walks(vm)


def _check_walks(vm: VM) -> None:
    seen: Counter[str] = Counter()
    # Plain random walks: hypothesis draws from what other tests have imported, so that how much they reach would
    # depend on those; and shrinking a failing walk would run for minutes, while it is short enough to read.
    draws = Random(SEED)
    for _ in range(WALKS):
        chain = Walk(vm, seen)
        for name, *arguments in (DEPOSIT, DEPOSIT, *draws.choices(STEPS, k=draws.randint(20, 40))):
            chain.step(name, *(draws.choice(one) for one in arguments))
    for name in ("create", "settle", "policy-expired", "policy-refused", "withdraw", "withdraw refused", "fees"):
        assert seen[name] > 5, f"the walks say little: {seen}"
    assert seen["policy-settled"] > seen["settle"], f"nothing was paid at expiry: {seen}"
