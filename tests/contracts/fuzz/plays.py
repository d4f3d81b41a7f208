"""Time, prices and money: each play turns a step's numbers into arguments that fit the world as it is."""

from __future__ import annotations

from typing import Any, Final

from tests.contracts.chain import (
    BTC,
    ORACLE,
    REGISTRY,
    SBTC,
    STX,
    STX_FEED,
    USD,
    VAULT,
    Actor,
    Principal,
)
from tests.contracts.fuzz.papers import paper
from tests.contracts.fuzz.player import call
from tests.contracts.fuzz.step import Step
from tests.contracts.fuzz.world import Paper, World
from tests.contracts.vouchers import voucher

_HONEST: Final = Step("price")
_TOKENS: Final = (STX, SBTC)


def by(
    world: World, step: Step, right: Actor, contract: str, function: str, *args: Any, paper: Paper | None = None,
    change: tuple[Any, ...] = (),
) -> Any:  # fmt: skip
    """Calls a function as the step says: the right person, another one, or the right one behind a contract."""
    between = step.who == "between"
    sender = right if between or step.who == "right" else world.actors[step.who]
    if paper is not None:
        args = (paper.signed.message, paper.signed.signature, *args)
    return call(world, contract, function, sender, *args, paper=paper, between=between, change=change)


def wait(world: World, step: Step) -> None:
    """Mostly a few blocks, now and then a night, a day, or longer than anybody waits for a backend."""
    short, seldom, which, _ = step.numbers
    blocks = 1 + (short % 8 if seldom % 14 else short % (60, 200, 1400)[which % 3])
    world.chain.vm.mine_burn(blocks)
    world.log.append(f"{blocks} burn blocks pass")


def gift(world: World, step: Step) -> None:
    """STX that arrives past the vault's functions."""
    amount = step.numbers[0] + 1
    result = world.chain.vm.transfer(world.actors["stranger"].address, world.vault, amount)
    world.books.book(result.events)
    world.log.append(f"{amount} uSTX are sent to the vault")


def price(world: World, step: Step) -> None:
    """The market moves by up to 8%, and the backend publishes it."""
    world.btc = min(max(world.btc * (92 + step.numbers[0] % 17) // 100, 20_000 * USD), 90_000 * USD)
    world.stx = min(max(world.stx * (95 + step.numbers[1] % 11) // 100, USD // 2), 2 * USD)
    publish_both(world)


def publish_both(world: World) -> None:
    """Both prices of now, by an honest backend."""
    for feed, price_e8 in ((BTC, world.btc), (STX_FEED, world.stx)):
        made = _round(world, _HONEST, feed, price_e8)
        if by(world, _HONEST, world.backend(0), ORACLE, "publish-price", paper=made) is not None:
            world.last_rounds[feed] = made.signed.message["round"]
    world.last_published = world.chain.height


def _round(world: World, step: Step, feed: str, price_e8: int, **changes: int) -> Paper:
    message = world.chain.round(feed, price_e8, **changes).message
    return paper(world, step, "bithedge-price-round", ORACLE, message, world.oracle(step.numbers[3]))


def publish(world: World, step: Step) -> None:
    """One round near the market's price; a stale one is of an earlier height, one of twenty of a later."""
    one, two, three, _ = step.numbers
    feed, price_e8 = ((BTC, world.btc), (STX_FEED, world.stx))[one % 2]
    height = world.chain.height
    at = max(0, height - two % 60) if step.flaw == "stale" else height + (three % 20 == 0)
    made = _round(world, step, feed, price_e8 * (97 + two % 7) // 100, **{"burn-height": at})
    by(world, step, world.backend(three), ORACLE, "publish-price", paper=made)


def deposit(world: World, step: Step) -> None:
    """Up to 1,000,000 STX or 10 BTC, seldom nothing."""
    token, amount = _TOKENS[step.numbers[0] % 2], step.numbers[1] % 1_000
    base = amount * (10**9 if token == STX else 10**6)
    by(world, step, world.actors["provider"], VAULT, "deposit-to-pool", token, 1 + step.numbers[2] % 3, base)


def withdraw(world: World, step: Step) -> None:
    """A part of the pool on a voucher; half of the time an announced one that may be ready."""
    one, two, three, _ = step.numbers
    token = _TOKENS[one % 2]
    known = world.papers.get("bithedge-voucher", [])
    announced = world.books.waiting.keys() - world.books.used_vouchers
    waiting = [old for old in known if old.signed.message["voucher-id"] in announced]
    if waiting and two % 2:
        made = waiting[three % len(waiting)]
        if three % 3:
            _wait_until(world, world.books.waiting[made.signed.message["voucher-id"]][0])
    else:
        amount = world.books.pools[token].accounted * (three % 1_200) // 4_000
        expiry = world.chain.height + (-1 if step.flaw == "stale" else 3 + one % 400)
        terms = voucher(world.chain, token, amount, **{"expiry-burn-height": expiry}).message
        made = paper(world, step, "bithedge-voucher", VAULT, terms, world.backend(two))
    by(world, step, world.actors["provider"], VAULT, "withdraw-from-pool", paper=made)


def veto(world: World, step: Step) -> None:
    """Some voucher, mostly one that waits."""
    ids = list(world.books.waiting) or [step.numbers[0].to_bytes(16, "big")]
    by(world, step, _admin(world), VAULT, "veto-voucher", ids[step.numbers[1] % len(ids)])


def fees(world: World, step: Step) -> None:
    """Some of the fees, now and then more than there are."""
    token = _TOKENS[step.numbers[0] % 2]
    amount = world.books.pools[token].fees * (step.numbers[1] % 110) // 100
    by(world, step, _admin(world), VAULT, "withdraw-fees", token, amount, Principal(world.actors["heir"].address))


def skim(world: World, step: Step) -> None:
    """What was sent to the vault."""
    token = STX if step.numbers[0] % 4 else SBTC
    by(world, step, _admin(world), VAULT, "skim-excess", token, Principal(world.actors["heir"].address))


def registry_only(world: World, step: Step) -> None:
    """What only the registry may do."""
    token, holder = _TOKENS[step.numbers[0] % 2], Principal(world.actors["holder"].address)
    locked = world.books.pools[token].locked
    args = {"lock-collateral-aggregate": (1, 1, 1), "pay-policy": (holder, 1, locked)}.get(step.play, (locked,))
    by(world, step, world.backend(0), VAULT, step.play, token, *args)


def create(world: World, step: Step) -> None:
    """A policy of some hours at a generous premium, seldom at a stingy one."""
    one, two, three, four = step.numbers
    _freshen(world, 6, four)
    token, sats, height = _TOKENS[one % 2], 1_000 + two * 20, world.chain.height
    strike = world.btc * (9_500 + one % 800) // 10_000
    premium = sats // 5 if token == SBTC else sats * world.btc // (500 * world.stx)
    terms = world.chain.terms(
        token,
        **{
            "amount-sats": sats,
            "strike-price-e8": strike,
            "floor-price-e8": strike * (6_000 + three % 3_500) // 10_000,
            "btc-price-e8": world.btc,
            "stx-price-e8": world.stx,
            "premium": premium if four % 15 else premium // 100,
            "quote-expiry-burn-height": height + (-1 if step.flaw == "stale" else 6),
            "expiration-burn-height": (height // 10 + 3) * 10,
            "auto-settle": bool(three % 5),
        },
    )
    made = paper(world, step, "bithedge-quote", REGISTRY, terms, world.backend(two))
    by(world, step, world.actors["holder"], REGISTRY, "create-policy-entry", paper=made)


def request(world: World, step: Step) -> None:
    """The holder asks on chain, mostly for an open policy."""
    _sell(world, step)
    number = _some_policy(world, step.numbers[0])
    by(world, step, world.actors["holder"], REGISTRY, "request-activation", number)


def settle(world: World, step: Step) -> None:
    """Some policy, mostly an open one, on a receipt at the market's price."""
    one, two, three, four = step.numbers
    _sell(world, step)
    if two % 4 and not _in_time(world, world.btc):
        world.btc = max(world.btc * 93 // 100, 20_000 * USD)
        publish_both(world)
    _freshen(world, 2, four)
    number = _some_policy(world, one, world.btc if two % 4 else 0)
    entry = world.books.policies.get(number, {"policy-id": bytes(16), "created-burn-height": 0})
    height = world.chain.height if step.flaw != "stale" else max(0, entry["created-burn-height"] - 1 + two % 40)
    btc = world.btc * (9_650 + three % 700) // 10_000 if four % 3 == 0 else world.btc
    message = world.chain.receipt(entry["policy-id"], btc, world.stx, **{"burn-height": height}).message
    made = paper(world, step, "bithedge-activation-receipt", REGISTRY, message, world.oracle(four))
    sender = world.backend(two) if two % 2 else world.actors["holder"]
    rounds = (world.last_rounds.get(BTC, 0), world.last_rounds.get(STX_FEED, 0))
    _by_number(world, step, sender, "settle-policy", number, made, *rounds)


def _by_number(world: World, step: Step, right: Actor, function: str, what: Any, made: Paper, *rest: Any) -> None:
    between = step.who == "between"
    sender = right if between or step.who == "right" else world.actors[step.who]
    args = (what, made.signed.message, made.signed.signature, *rest)
    call(world, REGISTRY, function, sender, *args, paper=made, between=between)


def expire(world: World, step: Step) -> None:
    """Everything that shares a policy's expiration, and more; half of the time once it is due."""
    one, two, three, four = step.numbers
    open_ones = [n for token in _TOKENS for n in world.books.open_policies(token)] or [_some_policy(world, one)]
    entry = world.books.policies.get(open_ones[one % len(open_ones)])
    expiration = entry["expiration-burn-height"] if entry else world.chain.height
    if two % 2:
        _wait_until(world, expiration + 7)
    message = world.chain.expiry_receipt(expiration, world.btc * (95 + three % 11) // 100, world.stx).message
    made = paper(world, step, "bithedge-expiry-receipt", REGISTRY, message, world.oracle(four))
    _by_number(world, step, world.backend(two), "expire-policies", _batch(world, one), made)


def abandon(world: World, step: Step) -> None:
    """A batch as if nobody were there to settle; one of four times long enough after."""
    if step.numbers[1] % 4 == 0:
        _wait_until(world, world.chain.height + 1_045)
    by(world, step, world.actors["stranger"], REGISTRY, "expire-abandoned-policies", _batch(world, step.numbers[0]))


def _batch(world: World, pick: int) -> list[int]:
    """The newest ids, with one twice, one unknown, and sometimes none."""
    newest = len(world.books.policies)
    return [] if pick % 17 == 0 else [*range(max(0, newest - 40), newest + 2), newest]


def _wait_until(world: World, height: int) -> None:
    if height > world.chain.height:
        world.chain.vm.mine_burn(height - world.chain.height)
        world.log.append(f"burn blocks pass until {height}")


def _freshen(world: World, age: int, pick: int) -> None:
    if pick % 8 and world.chain.height > world.last_published + age:
        publish_both(world)


def _sell(world: World, step: Step) -> None:
    """Sees to it, mostly, that there is an open policy."""
    if step.numbers[2] % 4 and not any(world.books.open_policies(token) for token in _TOKENS):
        create(world, Step("create-policy-entry", numbers=step.numbers))


def _some_policy(world: World, pick: int, below: int = 0) -> int:
    """Mostly one that can still be activated, with a strike above `below`; else any, or one that never was."""
    if pick % 6 == 0:
        return pick // 6 % (len(world.books.policies) + 1)
    found = _in_time(world, below) or [n for token in _TOKENS for n in world.books.open_policies(token)] or [0]
    return found[pick % len(found)]


def _in_time(world: World, below: int) -> list[int]:
    height = world.chain.height
    open_ones = {n: world.books.policies[n] for token in _TOKENS for n in world.books.open_policies(token)}
    return [
        number
        for number, one in open_ones.items()
        if one["strike-price-e8"] > below and one["expiration-burn-height"] >= height
    ]


def _admin(world: World) -> Actor:
    return world.actor_at(world.authority.admin, "admin")
