"""The four contracts on a chain of their own, with everybody who acts on it: what the contract tests are written in.

Clarity values are plain Python here (`plain` and `clarity`): int for uint, bool, bytes for buffers, str for
text and principals, dict for tuples, list, None for none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from coincurve import PrivateKey

from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    ListValue,
    NoneValue,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    parse_principal,
    serialize,
)
from services.chain_gateway.stacks.keys import address_of
from tests.contracts.vm import VM, CallResult

PARAMETER: Final = "parameter"
ORACLE: Final = "oracle"
VAULT: Final = "liquidity-pool-vault"
REGISTRY: Final = "policy-registry"
CONTRACTS: Final = (PARAMETER, ORACLE, VAULT, REGISTRY)
SOURCES: Final = Path(__file__).resolve().parents[2] / "contracts" / "contracts"
CHAIN_ID: Final = 0x80000000
BTC: Final = "BTC/USD"
STX_FEED: Final = "STX/USD"
STX: Final = 1
SBTC: Final = 2
USD: Final = 100_000_000
ACTIVE, SETTLED, EXPIRED = 0, 1, 2
Terms = dict[str, Any]


@dataclass(frozen=True)
class Principal:
    """Marks a text as a principal when it goes into a Clarity value."""

    text: str


def clarity(value: Any) -> ClarityValue:
    """The Clarity value of a plain one."""
    match value:
        case bool():
            return Bool(value)
        case int():
            return UInt(value)
        case bytes():
            return Buffer(value)
        case Principal():
            return parse_principal(value.text)
        case str():
            return StringAscii(value)
        case list():
            return ListValue(tuple(clarity(one) for one in value))
        case dict():
            return TupleValue({key: clarity(one) for key, one in value.items()})
    raise TypeError(f"no Clarity value for {value!r}")


def plain(value: ClarityValue) -> Any:
    """The plain value of a Clarity one; responses and optionals give what they hold."""
    match value:
        case StandardPrincipal() | ContractPrincipal():
            return value.text
        case NoneValue():
            return None
        case Some() | ResponseOk() | ResponseErr():
            return plain(value.value)
        case ListValue():
            return [plain(one) for one in value.items]
        case TupleValue():
            return {key: plain(one) for key, one in value.fields.items()}
    return value.value


class Actor:
    """Somebody with a key: an address on the test network, and signatures as r || s || recovery id."""

    def __init__(self, name: str) -> None:
        self.key = PrivateKey(sha256(name.encode()).digest())
        self.public_key = self.key.public_key.format(compressed=True)
        self.address = address_of(self.public_key, AddressVersion.TESTNET_SINGLE_SIG).text

    def sign(self, kind: str, contract: str, message: Terms, chain_id: int = CHAIN_ID) -> bytes:
        """SIP-018 signature of a message for one kind and one contract."""
        domain = {"name": kind, "version": "1", "chain-id": chain_id, "contract": Principal(contract)}
        hashes = b"".join(sha256(serialize(clarity(one))).digest() for one in (domain, message))
        return self.key.sign_recoverable(sha256(b"SIP018" + hashes).digest(), hasher=None)


@dataclass(frozen=True)
class Signed:
    """A message with its signature."""

    message: Terms
    signature: bytes


@dataclass
class Chain:
    """The deployed contracts, funded people, and the prices that the tests publish."""

    vm: VM
    admin: Actor = field(default_factory=lambda: Actor("admin"))
    backend: Actor = field(default_factory=lambda: Actor("backend"))
    oracle: Actor = field(default_factory=lambda: Actor("oracle"))
    holder: Actor = field(default_factory=lambda: Actor("holder"))
    provider: Actor = field(default_factory=lambda: Actor("provider"))
    stranger: Actor = field(default_factory=lambda: Actor("stranger"))
    rounds: dict[str, int] = field(default_factory=lambda: {BTC: 0, STX_FEED: 0})
    counter: int = 0

    def start(self, sources: Path = SOURCES) -> Chain:
        """A new chain: contracts deployed, keys known, people funded with both tokens."""
        self.vm.reset()
        self.vm.mine_burn(10)
        self.rounds = dict.fromkeys((BTC, STX_FEED), 0)
        for name in CONTRACTS:
            self.vm.deploy(self.admin.address, name, (sources / f"{name}.clar").read_text())
        self.ok(self.admin, PARAMETER, "add-backend-principal", Principal(self.backend.address))
        self.ok(self.admin, PARAMETER, "add-oracle-key", self.oracle.public_key)
        for actor in (self.admin, self.backend, self.holder, self.provider, self.stranger):
            self.vm.mint_stx(actor.address, 10**15)
            self.vm.mint_sbtc(actor.address, 10**12)
        return self

    @property
    def height(self) -> int:
        """The burn height that the next call sees."""
        return self.vm.burn_height

    def call(self, sender: Actor, contract: str, function: str, *args: Any) -> CallResult:
        """Calls a public function."""
        return self.vm.call(sender.address, contract, function, [clarity(one) for one in args])

    def ok(self, sender: Actor, contract: str, function: str, *args: Any) -> Any:
        """The plain value of a call that must succeed."""
        return plain(self.call(sender, contract, function, *args).expect())

    def error(self, sender: Actor, contract: str, function: str, *args: Any) -> int:
        """The error number of a call that must be refused."""
        return refused(self.call(sender, contract, function, *args))

    def read(self, contract: str, function: str, *args: Any) -> Any:
        """The plain value of a read-only function."""
        return plain(self.vm.read(self.stranger.address, contract, function, [clarity(one) for one in args]).value)

    def set(self, name: str, value: int) -> None:
        """Sets a parameter."""
        assert self.ok(self.admin, PARAMETER, "set-parameter", name, value) is True

    # Signed messages

    def sign(self, signer: Actor, kind: str, contract: str, message: Terms, chain_id: int = CHAIN_ID) -> Signed:
        """A message signed for one of the contracts."""
        return Signed(message, signer.sign(kind, self.vm.contract(contract), message, chain_id))

    def round(self, feed: str, price_e8: int, **changes: Any) -> Signed:
        """The next round of a feed, signed by the oracle."""
        self.rounds[feed] = number = self.rounds[feed] + 1
        message = {
            "feed": feed,
            "round": number,
            "price-e8": price_e8,
            "confidence-e8": 1,
            "observed-at": 1_600_000_000 + 60 * number,
            "burn-height": self.height,
        } | changes
        return self.sign(self.oracle, "bithedge-price-round", ORACLE, message)

    def publish(self, feed: str, price_e8: int, **changes: Any) -> int:
        """Publishes the next round of a feed and answers its number."""
        one = self.round(feed, price_e8, **changes)
        self.ok(self.backend, ORACLE, "publish-price", one.message, one.signature)
        return int(one.message["round"])

    def publish_both(self, btc_e8: int, stx_e8: int) -> None:
        """Publishes both feeds at the current height, free of the jump bound."""
        self.vm.mine_burn(1)
        bounds = ("oracle.jump-base-bps", "oracle.jump-per-block-bps")
        before = [self.read(PARAMETER, "get-parameter", name) for name in bounds]
        for name, value in zip(bounds, (5_000, 2_000), strict=True):
            self.set(name, value)
        self.publish(BTC, btc_e8)
        self.publish(STX_FEED, stx_e8)
        for name, value in zip(bounds, before, strict=True):
            self.set(name, value)

    def terms(self, token: int, /, **changes: Any) -> Terms:
        """The terms of a fair quote at BTC 50,000 and STX 1 for 0.1 BTC, under a new policy id."""
        self.counter += 1
        height = self.height
        return {
            "policy-id": sha256(f"policy {self.counter}".encode()).digest()[:16],
            "holder": Principal(self.holder.address),
            "tier": 2,
            "token": token,
            "amount-sats": 10_000_000,
            "strike-price-e8": 48_000 * USD,
            "floor-price-e8": 36_000 * USD,
            "btc-price-e8": 50_000 * USD,
            "stx-price-e8": 1 * USD if token == STX else 0,
            "premium": 50_000_000 if token == STX else 100_000,
            "fee": 250_000 if token == STX else 500,
            "auto-settle": True,
            "quote-burn-height": height,
            "quote-expiry-burn-height": height + 6,
            "expiration-burn-height": height + 144,
        } | changes

    def quote(self, token: int, /, **changes: Any) -> Signed:
        """A fair quote, signed by the backend."""
        return self.sign(self.backend, "bithedge-quote", REGISTRY, self.terms(token, **changes))

    def create(self, token: int, /, **changes: Any) -> int:
        """Creates a policy at fair terms and answers its id."""
        return int(plain(self.pay_quote(self.holder, self.quote(token, **changes)).expect()))

    def settle(self, sender: Actor, number: int, receipt: Signed, *rounds: int) -> CallResult:
        """Settles a policy on a receipt and two rounds (the latest ones unless given)."""
        btc, stx = rounds or (self.rounds[BTC], self.rounds[STX_FEED])
        args = (number, receipt.message, receipt.signature, btc, stx)
        return self.call(sender, REGISTRY, "settle-policy", *args)

    def expire(self, sender: Actor, numbers: list[int], receipt: Signed) -> CallResult:
        """Ends policies on their height's receipt."""
        return self.call(sender, REGISTRY, "expire-policies", numbers, receipt.message, receipt.signature)

    def pay_quote(self, sender: Actor, quote: Signed) -> CallResult:
        """Pays a quote."""
        return self.call(sender, REGISTRY, "create-policy-entry", quote.message, quote.signature)

    def receipt(self, policy_id: bytes, btc_e8: int, stx_e8: int = USD, **changes: Any) -> Signed:
        """An activation receipt at the current height."""
        message = {
            "policy-id": policy_id,
            "activation": 1,
            "btc-price-e8": btc_e8,
            "stx-price-e8": stx_e8,
            "observed-at": 1_600_000_000,
            "burn-height": self.height,
        } | changes
        return self.sign(self.oracle, "bithedge-activation-receipt", REGISTRY, message)

    def expiry_receipt(self, expiration: int, btc_e8: int, stx_e8: int = USD) -> Signed:
        """The receipt of an expiration height."""
        message = {"expiration-burn-height": expiration, "btc-price-e8": btc_e8, "stx-price-e8": stx_e8}
        message["observed-at"] = 1_600_000_000
        return self.sign(self.oracle, "bithedge-expiry-receipt", REGISTRY, message)

    def policy(self, number: int) -> Terms:
        """The entry of a policy."""
        return dict(self.read(REGISTRY, "get-policy", number))

    def deposit(self, token: int, amount: int, tier: int = 2) -> CallResult:
        """A deposit of the provider."""
        return self.call(self.provider, VAULT, "deposit-to-pool", token, tier, amount)

    def pool(self, token: int) -> dict[str, int]:
        """The vault's sums of a token."""
        return dict(self.read(VAULT, "get-balances")["stx" if token == STX else "sbtc"])

    def owned(self, actor: Actor, token: int) -> int:
        """What somebody holds of a token."""
        balance = self.vm.balance(actor.address)
        return balance.ustx if token == STX else balance.sats


def refused(result: CallResult) -> int:
    """The error number of a result that must be a refusal, which leaves no events."""
    assert not result.ok, f"expected an error, got (ok {plain(result.value)})"
    assert not result.events
    return int(plain(result.value))


def printed(result: CallResult, topic: str) -> list[Terms]:
    """The events of a topic, plain and without it."""
    return [{k: v for k, v in plain(one).items() if k != "topic"} for one in result.printed(topic)]
