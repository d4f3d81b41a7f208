"""What each successful call must have been entitled to, by the rules alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kernel.units import Token, max_payout, payout
from tests.contracts.chain import ACTIVE, EXPIRED, SETTLED, STX, Terms
from tests.contracts.fuzz.violation import require
from tests.contracts.fuzz.world import HAIRCUTS, Paper, World

DAY: Final = 144


@dataclass(frozen=True)
class Call:
    """One call: who signed the transaction, whom the contract sees, and the signed paper that it carries, if any."""

    function: str
    args: list[Any]
    signer: str
    caller: str
    paper: Paper | None = None

    @property
    def direct(self) -> bool:
        """Whether no contract stands in between."""
        return self.signer == self.caller


def justify(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    """Raises Violation when a call succeeded that had no right to. `before` are the policies as they were."""
    _RULES[call.function](world, call, value, before)


def _pool_name(name: str, token: int) -> str:
    return f"{name}-{'stx' if token == STX else 'sbtc'}"


def _by_backend(world: World, paper: Paper | None) -> None:
    assert paper is not None
    require(paper.sound and paper.signer.address in world.authority.backends, "no backend signed this")


def _by_oracle(world: World, paper: Paper | None) -> None:
    assert paper is not None
    require(paper.sound and paper.signer.public_key in world.authority.oracles, "no oracle signed this")


def _not_paused(world: World, kind: str) -> None:
    require(not world.authority.is_paused(kind, world.chain.height), f"{kind} is paused")


def _by_admin(world: World, call: Call) -> None:
    require(call.caller == world.authority.admin, "the admin alone may do this")


def _publish(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    message, height, books = call.args[0], world.chain.height, world.books
    key = (message["feed"], message["round"])
    heard = books.heard[message["feed"]]
    is_backend = call.caller in world.authority.backends
    silent = height > heard + world.authority.values["oracle.silence-blocks"] and message["burn-height"] >= heard
    require(is_backend or silent, "neither a backend nor after its silence")
    _by_oracle(world, call.paper)
    require(key not in books.rounds, "a round was published twice")
    require(message["price-e8"] > 0 and message["burn-height"] <= height, "no price, or one of the future")
    books.rounds[key] = message
    world.seen["relayed"] += not is_backend
    if is_backend and value:
        books.heard[message["feed"]] = height


def _deposit(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    require(call.direct, "a deposit through a contract")
    _not_paused(world, "deposits")


def _withdraw(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    voucher, height, books, values = call.args[0], world.chain.height, world.books, world.authority.values
    identifier, token = voucher["voucher-id"], voucher["token"]
    day = (token, height // DAY)
    require(call.direct and call.caller == voucher["provider"].text, "another took it")
    _not_paused(world, "withdrawals")
    _by_backend(world, call.paper)
    require(identifier not in books.used_vouchers, "a voucher was used twice, or after a veto")
    waiting = books.waiting.get(identifier)
    if waiting is None:
        require(height <= voucher["expiry-burn-height"], "a voucher of the past")
        spent = books.withdrawn[day] + voucher["amount"]
        require((spent <= values[_pool_name("withdrawal.max-per-day", token)]) is value, "the day's cap was not kept")
        if not value:
            books.waiting[identifier] = (height + values["withdrawal.delay-blocks"], voucher)
            return
        books.withdrawn[day] = spent
    else:
        ready, announced = waiting
        require(value and announced == voucher, "other terms than announced")
        require(ready <= height <= ready + DAY, "an announced voucher outside its day")
        world.seen["delayed and paid"] += 1
    books.used_vouchers.add(identifier)


def _veto(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    _by_admin(world, call)
    require(call.args[0] not in world.books.used_vouchers, "a used voucher was vetoed")
    world.books.used_vouchers.add(call.args[0])


def _admin_takes(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    _by_admin(world, call)
    if call.function == "skim-excess":
        token = call.args[0]
        left = world.books.owned[(world.vault, token)] - world.books.pools[token].accounted
        require(left == 0, f"skimming left {left}")


def _nobody(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    require(False, f"{call.function} is the registry's alone")


def _create(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    quote, height, books, values = call.args[0], world.chain.height, world.books, world.authority.values
    require(call.direct and call.caller == quote["holder"].text, "not the holder")
    _by_backend(world, call.paper)
    _not_paused(world, "creation")
    start, end = quote["quote-burn-height"], quote["quote-expiry-burn-height"]
    require(start <= height <= end <= start + values["quote.valid-blocks"], "not in the quote's time")
    require(height < quote["expiration-burn-height"], "expired when sold")
    entry = books.policies[value]
    for name, term in quote.items():
        require(entry[name] == (term.text if name == "holder" else term), f"{name} is not as quoted")
    haircut = values[list(HAIRCUTS.values())[quote["tier"] - 1]]
    terms = (quote["amount-sats"], quote["strike-price-e8"], quote["floor-price-e8"])
    collateral = max_payout(Token(quote["token"]), *terms, quote["stx-price-e8"], haircut)
    require(entry["max-payout"] == collateral, "another collateral than the formula's")
    day = (quote["token"], height // DAY)
    books.issued[day] += collateral
    require(collateral <= values[_pool_name("issuance.max-per-policy", quote["token"])], "too large a policy")
    require(books.issued[day] <= values[_pool_name("issuance.max-per-day", quote["token"])], "too much for a day")


def _request(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    entry = world.books.policies[call.args[0]]
    require(call.caller == entry["holder"], "not the holder")
    in_time = world.chain.height <= entry["expiration-burn-height"]
    require(entry["status"] == ACTIVE and in_time, "not active, or too late")


def _settle(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    number, receipt, _, *rounds = call.args
    entry, height, values = before[number], world.chain.height, world.authority.values
    require(entry["status"] == ACTIVE, "a policy ended twice")
    require(call.caller == entry["holder"] or call.caller in world.authority.backends, "a stranger settled")
    _by_oracle(world, call.paper)
    _not_paused(world, "settlement")
    require(receipt["policy-id"] == entry["policy-id"], "another policy's receipt")
    at = receipt["burn-height"]
    require(entry["created-burn-height"] <= at <= min(height, entry["expiration-burn-height"]), "not of its life")
    feeds = (("BTC/USD", "btc-price-e8"), ("STX/USD", "stx-price-e8"))[: 2 if entry["token"] == STX else 1]
    for (feed, price), number_of_round in zip(feeds, rounds, strict=False):
        found = world.books.rounds[(feed, number_of_round)]
        near = abs(at - found["burn-height"]) <= values["settlement.round-distance-blocks"]
        tolerance = found["price-e8"] * values["settlement.round-tolerance-bps"]
        require(near and abs(receipt[price] - found["price-e8"]) * 10_000 <= tolerance, "no round agrees")
    require(value == _payout(entry, receipt) > 0, "another payout than the formula's")
    require(world.books.policies[number]["payout"] == value, "the event tells another payout")


def _payout(entry: Terms, prices: Terms) -> int:
    terms = (entry["amount-sats"], entry["strike-price-e8"], entry["floor-price-e8"])
    found = (prices["btc-price-e8"], prices["stx-price-e8"], entry["max-payout"])
    return payout(Token(entry["token"]), *terms, *found)


def _end(world: World, call: Call, value: Any, before: dict[int, Terms]) -> None:
    receipt = call.args[1] if call.function == "expire-policies" else None
    _not_paused(world, "settlement")
    if receipt is not None:
        require(call.caller in world.authority.backends, "not a backend")
        _by_oracle(world, call.paper)
    for number, entry in before.items():
        now = world.books.policies[number]
        if now["status"] != entry["status"]:
            _ended_rightly(world, entry, now, receipt)
            world.seen["abandoned" if receipt is None else f"ended {now['status']}"] += 1


def _ended_rightly(world: World, entry: Terms, now: Terms, receipt: Terms | None) -> None:
    height, authority = world.chain.height, world.authority
    require(entry["status"] == ACTIVE, "a policy ended twice")
    wait = entry["grace-blocks"] if receipt else authority.values["expiry.abandoned-blocks"]
    paused = authority.paused_blocks(height) - entry["settlement-pause-counter"]
    require(height > entry["expiration-burn-height"] + wait + paused, "ended before it was due")
    owed = 0
    if receipt is not None:
        require(receipt["expiration-burn-height"] == entry["expiration-burn-height"], "another height's receipt")
        owed = _payout(entry, receipt) if entry["auto-settle"] else 0
    require((now["status"], now["payout"]) == (SETTLED if owed else EXPIRED, owed), "another end than the formula's")


_RULES: Final[dict[str, Callable[[World, Call, Any, dict[int, Terms]], None]]] = {
    "publish-price": _publish,
    "deposit-to-pool": _deposit,
    "withdraw-from-pool": _withdraw,
    "veto-voucher": _veto,
    "withdraw-fees": _admin_takes,
    "skim-excess": _admin_takes,
    "lock-collateral-aggregate": _nobody,
    "pay-policy": _nobody,
    "release-collateral-aggregate": _nobody,
    "create-policy-entry": _create,
    "request-activation": _request,
    "settle-policy": _settle,
    "expire-policies": _end,
    "expire-abandoned-policies": _end,
}
