"""Makes one call, lets the models judge it, and compares what the chain says with what they expect."""

from __future__ import annotations

from typing import Any, Final

from tests.contracts.chain import ACTIVE, PARAMETER, REGISTRY, SBTC, STX, VAULT, Actor, plain
from tests.contracts.fuzz.judge import Call, justify
from tests.contracts.fuzz.violation import require
from tests.contracts.fuzz.world import Paper, World, through
from tests.contracts.interface import IN_BETWEEN
from tests.contracts.vm import CallResult, VMError

_POOLS: Final = {STX: "stx", SBTC: "sbtc"}
_LIST: Final = 200


def call(
    world: World,
    contract: str,
    function: str,
    sender: Actor,
    *args: Any,
    paper: Paper | None = None,
    between: bool = False,
    change: tuple[Any, ...] = (),
) -> Any:
    """The plain value of a call that succeeded, None of one that was refused.

    `between` sends it through the contract in between; `change` is what the argument of cancel-change stands for.
    """
    chain = world.chain
    made = Call(function, list(args), sender.address, through(chain) if between else sender.address, paper)
    before = {number: dict(entry) for number, entry in world.books.policies.items()}
    expected = None
    if contract == PARAMETER:
        plain_args = list(change) if change else [getattr(one, "text", one) for one in args]
        expected = world.authority.answer(function, plain_args, made.caller, chain.height)
    world.calls += 1
    try:
        result = chain.call(sender, IN_BETWEEN if between else contract, function, *args)
    except VMError:
        # An overflow: everything the call did is undone.
        result = None
    value = None if result is None else plain(result.value)
    ok = result is not None and result.ok
    world.log.append(f"{_name(world, sender)}{' through a contract' if between else ''}: {function}"
                     f"({', '.join(map(_short, args))}) -> {'ok' if ok else 'refused'} {_short(value)}")  # fmt: skip
    world.seen[f"{function}: {'ok' if ok else 'refused'}"] += 1
    if expected is not None:
        require((ok, value) == expected, f"answered {(ok, value)} instead of {expected}")
    if result is None or not ok:
        world.seen[f"{function} {value}"] += 1
        require(result is None or not result.events, "a refused call left events")
        return None
    _succeeded(world, contract, made, result, value, before)
    return value


def _succeeded(
    world: World, contract: str, made: Call, result: CallResult, value: Any, before: dict[int, dict[str, Any]]
) -> None:
    world.books.book(result.events)
    if contract != PARAMETER:
        justify(world, made, value, before)
        check_sums(world)


def check_sums(world: World) -> None:
    """Per token: max-payout of open policies = locked <= accounted - fees, accounted <= balance; all as booked."""
    for token, found in _balances(world).items():
        pool = world.books.pools[token]
        owed = sum(world.books.policies[number]["max-payout"] for number in world.books.open_policies(token))
        require(found["locked"] == owed, f"locked {found['locked']}, but open policies may cost {owed}")
        require(found["locked"] <= found["accounted"] - found["fees"], "more locked than accounted less fees")
        require(found["accounted"] <= found["balance"], "more accounted than owned")
        booked = (pool.accounted, pool.locked, pool.fees, world.books.owned[(world.vault, token)])
        told = tuple(found[name] for name in ("accounted", "locked", "fees", "balance"))
        require(booked == told, f"the vault says {told}, its events {booked}")


def check_all(world: World) -> None:
    """Besides the sums: every policy, every voucher, every key and everybody's balance are as the models say."""
    check_sums(world)
    chain, books, authority = world.chain, world.books, world.authority
    require(chain.read(REGISTRY, "get-policy-counter") == len(books.policies), "the counter is wrong")
    numbers = sorted(books.policies)
    for start in range(0, len(numbers), _LIST):
        some = numbers[start : start + _LIST]
        for number, entry in zip(some, chain.read(REGISTRY, "get-policies", some), strict=True):
            _check_policy(number, books.policies[number], entry)
    balances = chain.vm.balances(sorted({who for who, _ in books.owned}))
    for (who, token), owned in books.owned.items():
        balance = balances[who]
        require((balance.ustx if token == STX else balance.sats) == owned, f"{who} owns another sum of token {token}")
    require(chain.read(PARAMETER, "get-admin") == authority.admin, "another admin")
    require(chain.read(PARAMETER, "get-settlement-pause-counter") == authority.paused_blocks(chain.height), "pauses")


def check_end(world: World) -> None:
    """Everything, and that no used voucher is unused again."""
    check_all(world)
    for one in world.books.used_vouchers:
        require(world.chain.read(VAULT, "is-voucher-used", one), "a used voucher is unused again")


def _check_policy(number: int, expected: dict[str, Any], entry: dict[str, Any]) -> None:
    for name in ("policy-id", "holder", "max-payout", "status", "payout", "expiration-burn-height"):
        require(entry[name] == expected[name], f"{name} of policy {number} is {entry[name]}, not {expected[name]}")
    require(entry["status"] != ACTIVE or entry["payout"] == 0, f"policy {number} is open and paid")


def _balances(world: World) -> dict[int, dict[str, int]]:
    found = world.chain.read(VAULT, "get-balances")
    return {token: found[name] for token, name in _POOLS.items()}


def _name(world: World, actor: Actor) -> str:
    return next((name for name, one in world.actors.items() if one is actor), actor.address)


def _short(value: Any) -> str:
    match value:
        case bytes():
            return value.hex()[:12]
        case dict():
            inside = ", ".join(f"{key}: {_short(one)}" for key, one in value.items())
            return "{" + inside + "}"
        case list():
            return f"[{', '.join(_short(one) for one in value[:8])}{', ...' if len(value) > 8 else ''}]"
    return str(getattr(value, "text", value))
