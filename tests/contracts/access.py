"""Who may call what: every public function, whom it admits, and what it tells everybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from services.chain_gateway.stacks.clarity import serialize
from tests.contracts.chain import (
    BTC,
    ORACLE,
    PARAMETER,
    REGISTRY,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Actor,
    Chain,
    Principal,
    Signed,
    clarity,
)
from tests.contracts.interface import IN_BETWEEN, deploy_in_between
from tests.contracts.vm import VM, CallResult
from tests.contracts.vouchers import voucher

CALLERS: Final = ("anyone", "holder", "provider", "backend", "former backend", "admin", "proposed admin")
THROUGH: Final = "contract in between"
Arguments = Callable[["Cast", int], list[Any]]


@dataclass
class Cast:
    """A market with one actor per caller. What a function is called with is made for each call anew."""

    chain: Chain
    former: Actor = field(default_factory=lambda: Actor("former backend"))
    proposed: Actor = field(default_factory=lambda: Actor("proposed admin"))

    def start(self) -> Cast:
        """A pool, prices, a backend that came and went, a proposed admin, and the contract in between."""
        chain = self.chain.start()
        for actor in (self.former, self.proposed):
            chain.vm.mint_stx(actor.address, 10**15)
            chain.vm.mint_sbtc(actor.address, 10**12)
        for function in ("add-backend-principal", "remove-backend-principal"):
            chain.ok(chain.admin, PARAMETER, function, Principal(self.former.address))
        chain.publish_both(50_000 * USD, USD)
        for token, amount in ((STX, 10**12), (3 - STX, 10**9)):
            chain.deposit(token, amount).expect()
        deploy_in_between(chain, chain.stranger)
        return self

    def actor(self, caller: str) -> Actor:
        """Who plays a caller."""
        others = {"anyone": self.chain.stranger, "former backend": self.former, "proposed admin": self.proposed}
        found = others.get(caller) or getattr(self.chain, caller)
        assert isinstance(found, Actor)
        return found

    def call(self, caller: str, rule: Rule, token: int) -> CallResult:
        """Calls a rule's function with arguments of its own; `THROUGH` is its rightful caller behind a contract."""
        arguments = rule.arguments(self, token)
        through = caller == THROUGH
        sender = self.actor(rule.rightful if through else caller)
        return self.chain.call(sender, IN_BETWEEN if through else rule.contract, rule.function, *arguments)


@dataclass(frozen=True)
class Rule:
    """One function. `error` answers whom `may` does not name; `through` a contract, 0 when it makes no difference."""

    contract: str
    function: str
    may: tuple[str, ...]
    error: int
    arguments: Arguments
    through: int = -1
    by_token: bool = False

    @property
    def rightful(self) -> str:
        """Who has the best claim to be admitted."""
        return self.may[0] if self.may else "admin"

    def answer(self, caller: str) -> int:
        """The error that a caller gets; 0 when admitted."""
        if caller == THROUGH:
            return self.error if self.through < 0 else self.through
        return 0 if caller in self.may else self.error


def policy(cast: Cast, token: int) -> int:
    """A new policy, bought at BTC 50,000."""
    cast.chain.publish_both(50_000 * USD, USD)
    return cast.chain.create(token)


def due_policy(cast: Cast, token: int, blocks: int) -> int:
    """A new policy so many blocks past its expiration."""
    number = policy(cast, token)
    cast.chain.vm.mine_burn(144 + blocks)
    return number


def _signed(one: Signed) -> list[Any]:
    return [one.message, one.signature]


def _settlement(cast: Cast, token: int) -> list[Any]:
    chain = cast.chain
    number = policy(cast, token)
    chain.publish_both(45_000 * USD, USD)
    receipt = chain.receipt(chain.policy(number)["policy-id"], 45_000 * USD)
    return [number, *_signed(receipt), chain.rounds[BTC], chain.rounds[STX_FEED]]


def _expiry(cast: Cast, token: int) -> list[Any]:
    number = due_policy(cast, token, 7)
    expiration = cast.chain.policy(number)["expiration-burn-height"]
    return [[number], *_signed(cast.chain.expiry_receipt(expiration, 45_000 * USD))]


def _abandoned(cast: Cast, token: int) -> list[Any]:
    return [[due_policy(cast, token, 1009)]]


def _voucher(cast: Cast, token: int) -> list[Any]:
    return _signed(voucher(cast.chain, token, 1_000))


def _quote(cast: Cast, token: int) -> list[Any]:
    cast.chain.publish_both(50_000 * USD, USD)
    return _signed(cast.chain.quote(token))


def _round(cast: Cast, token: int) -> list[Any]:
    cast.chain.vm.mine_burn(1)
    return _signed(cast.chain.round(BTC, 50_000 * USD))


def _waiting_change(cast: Cast, token: int) -> list[Any]:
    name = {"name": "policy.fee-bps", "value": 60}
    if cast.chain.read(PARAMETER, "get-parameter", "admin.delay-blocks") == 0:
        cast.chain.set("admin.delay-blocks", 10)
    cast.chain.ok(cast.chain.admin, PARAMETER, "set-parameter", *name.values())
    return [sha256(serialize(clarity(name))).digest()]


def _paused(cast: Cast, token: int) -> list[Any]:
    if not cast.chain.read(PARAMETER, "is-paused", "creation"):
        cast.chain.ok(cast.chain.admin, PARAMETER, "pause", "creation")
    return ["creation"]


def _proposal(cast: Cast, token: int) -> list[Any]:
    cast.chain.ok(cast.chain.admin, PARAMETER, "propose-admin", Principal(cast.proposed.address))
    return []


def _fees(cast: Cast, token: int) -> list[Any]:
    policy(cast, token)
    return [token, 1, Principal(cast.proposed.address)]


def _excess(cast: Cast, token: int) -> list[Any]:
    cast.chain.vm.transfer(cast.chain.stranger.address, cast.chain.vm.contract(VAULT), 5).expect()
    return [STX, Principal(cast.proposed.address)]


def _admins(function: str, arguments: Arguments) -> Rule:
    return Rule(PARAMETER, function, ("admin",), 1001, arguments)


def _registrys(function: str, arguments: Arguments) -> Rule:
    return Rule(VAULT, function, (), 4001, arguments)


EVERYBODY: Final = CALLERS
RULES: Final = (
    Rule(PARAMETER, "accept-admin", ("proposed admin",), 1009, _proposal),
    _admins("add-backend-principal", lambda cast, _: [Principal(cast.proposed.address)]),
    _admins("add-oracle-key", lambda cast, _: [cast.proposed.public_key]),
    _admins("cancel-change", _waiting_change),
    _admins("pause", lambda cast, _: ["creation"]),
    _admins("propose-admin", lambda cast, _: [Principal(cast.proposed.address)]),
    _admins("remove-backend-principal", lambda cast, _: [Principal(cast.chain.backend.address)]),
    _admins("remove-oracle-key", lambda cast, _: [cast.chain.oracle.public_key]),
    _admins("set-parameter", lambda cast, _: ["policy.fee-bps", 60]),
    _admins("unpause", _paused),
    Rule(ORACLE, "publish-price", ("backend",), 2001, _round),
    Rule(VAULT, "deposit-to-pool", EVERYBODY, 0, lambda _, token: [token, 2, 1_000], 4002, True),
    _registrys("lock-collateral-aggregate", lambda _, token: [token, 1, 1, 1]),
    _registrys("pay-policy", lambda cast, token: [token, Principal(cast.chain.holder.address), 1, 1]),
    _registrys("release-collateral-aggregate", lambda _, token: [token, 1]),
    Rule(VAULT, "skim-excess", ("admin",), 4017, _excess),
    Rule(VAULT, "veto-voucher", ("admin",), 4017, lambda cast, _: [_voucher(cast, STX)[0]["voucher-id"]]),
    Rule(VAULT, "withdraw-fees", ("admin",), 4017, _fees, by_token=True),
    Rule(VAULT, "withdraw-from-pool", ("provider",), 4013, _voucher, 4002, True),
    Rule(REGISTRY, "create-policy-entry", ("holder",), 3002, _quote, by_token=True),
    Rule(REGISTRY, "expire-abandoned-policies", EVERYBODY, 0, _abandoned, 0, True),
    Rule(REGISTRY, "expire-policies", ("backend",), 3015, _expiry, by_token=True),
    Rule(REGISTRY, "request-activation", ("holder",), 3015, lambda cast, token: [policy(cast, token)]),
    Rule(REGISTRY, "settle-policy", ("holder", "backend"), 3015, _settlement, by_token=True),
)


def started(vm: VM) -> Cast:
    """A cast on a new chain."""
    return Cast(Chain(vm)).start()
