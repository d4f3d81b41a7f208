"""Keys, numbers, pauses and the admin."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from services.chain_gateway.stacks.clarity import serialize
from tests.contracts.chain import PARAMETER, Principal, clarity
from tests.contracts.fuzz import plays
from tests.contracts.fuzz.step import Step
from tests.contracts.fuzz.world import World

# Values that the walks set, on both sides of the bounds.
_VALUES: Final = {
    "admin.delay-blocks": (3, 10, 0, 1_009),
    "expiry.grace-blocks": (6, 1, 12, 0),
    "settlement.pause-max-blocks": (144, 5, 20, 0),
    "withdrawal.pause-max-blocks": (1008, 8, 30, 5_000),
    "withdrawal.max-per-day-stx": (10**13, 10**10, 10**8, 0),
    "withdrawal.max-per-day-sbtc": (5 * 10**9, 10**7, 10**5, 0),
    "withdrawal.delay-blocks": (144, 6, 12, 5),
    "issuance.max-per-policy-sbtc": (5 * 10**9, 10**7, 10**6, 0),
    "issuance.max-per-day-stx": (10**14, 10**11, 10**10, 0),
    "quote.valid-blocks": (6, 8, 12, 0),
    "oracle.silence-blocks": (36, 6, 12, 5),
    "no.such-name": (1, 1, 1, 1),
}
_PAUSES: Final = ("creation", "deposits", "withdrawals", "settlement")


def set_parameter(world: World, step: Step) -> None:
    """One of the numbers, within its bounds or not."""
    pick = step.numbers[0]
    name = list(_VALUES)[pick % len(_VALUES) if pick % 4 else 0]
    _change(world, step, "set-parameter", name, _VALUES[name][step.numbers[1] % 4])


def keys(world: World, step: Step) -> None:
    """A key comes more often than one goes, so that somebody can act."""
    one, two, three, _ = step.numbers
    who = world.actors[("backend", "second", "former")[two % 3]]
    owner = (world.chain.oracle, world.actors["heir"])[two % 2]
    known = world.authority.backends if three % 2 else world.authority.oracles
    verb = "remove" if one % 3 == 0 and (len(known) > 1 or two % 5 == 0) else "add"
    if three % 2:
        _change(world, step, f"{verb}-backend-principal", Principal(who.address))
    else:
        _change(world, step, f"{verb}-oracle-key", owner.public_key if one % 11 else bytes(33))


def propose(world: World, step: Step) -> None:
    """The admin or the heir."""
    heir = world.actors[("admin", "heir")[step.numbers[0] % 2]]
    _change(world, step, "propose-admin", Principal(heir.address))


def again(world: World, step: Step) -> None:
    """The same change once more: what waited may be due."""
    if world.changes:
        function, args = world.changes[-1 - step.numbers[0] % min(len(world.changes), 5)]
        _change(world, step, function, *args)


def _change(world: World, step: Step, function: str, *args: Any) -> None:
    world.changes.append((function, list(args)))
    _by_admin(world, step, function, *args)


def _by_admin(world: World, step: Step, function: str, *args: Any, change: tuple[Any, ...] = ()) -> None:
    right = world.actor_at(world.authority.admin, "admin")
    plays.by(world, step, right, PARAMETER, function, *args, change=change)


def accept(world: World, step: Step) -> None:
    """Who was proposed takes over."""
    right = world.actor_at(world.authority.proposed or "", "heir")
    plays.by(world, step, right, PARAMETER, "accept-admin")


def cancel(world: World, step: Step) -> None:
    """A change that waits, or one that nobody announced."""
    waiting = list(world.authority.scheduled) or [("set-parameter", "expiry.grace-blocks", 7)]
    change = waiting[step.numbers[0] % len(waiting)]
    _by_admin(world, step, "cancel-change", _hash(change), change=(change,))


def _hash(change: tuple[Any, ...]) -> bytes:
    """The name under which the contract keeps a change."""
    function, *args = change
    match function:
        case "set-parameter":
            told: dict[str, Any] = {"name": args[0], "value": args[1]}
        case "add-oracle-key":
            told = {"oracle-key": args[0]}
        case _:
            told = {"backend-principal" if "backend" in function else "admin": Principal(args[0])}
    return sha256(serialize(clarity(told))).digest()


def pause(world: World, step: Step) -> None:
    """One of the four, or one that is none."""
    _by_admin(world, step, "pause", _PAUSES[step.numbers[0] % 4] if step.numbers[1] % 12 else "everything")


def unpause(world: World, step: Step) -> None:
    """What is paused, mostly."""
    running = [one for one in _PAUSES if world.authority.is_paused(one, world.chain.height)] or list(_PAUSES)
    _by_admin(world, step, "unpause", running[step.numbers[0] % len(running)])


PLAYS: Final[dict[str, Callable[[World, Step], None]]] = {
    "wait": plays.wait,
    "gift": plays.gift,
    "price": plays.price,
    "publish-price": plays.publish,
    "deposit-to-pool": plays.deposit,
    "withdraw-from-pool": plays.withdraw,
    "veto-voucher": plays.veto,
    "withdraw-fees": plays.fees,
    "skim-excess": plays.skim,
    "lock-collateral-aggregate": plays.registry_only,
    "pay-policy": plays.registry_only,
    "release-collateral-aggregate": plays.registry_only,
    "create-policy-entry": plays.create,
    "request-activation": plays.request,
    "settle-policy": plays.settle,
    "expire-policies": plays.expire,
    "expire-abandoned-policies": plays.abandon,
    "set-parameter": set_parameter,
    "again": again,
    "keys": keys,
    "pause": pause,
    "unpause": unpause,
    "propose-admin": propose,
    "accept-admin": accept,
    "cancel-change": cancel,
}
