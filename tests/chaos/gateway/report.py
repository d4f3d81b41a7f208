"""What a play says at its end: a table for people, one JSON line for machines, and whether the play was a real one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tests.chaos.gateway.play import Outcome, say

_SHOWN: Final = 20


def differences(outcome: Outcome) -> list[str]:
    """What is not as promised, and what the play itself left undone."""
    return [*outcome.verdict.differences, *outcome.complaints]


def show(outcome: Outcome, missing: Iterable[str]) -> None:
    """The table, and the first of the differences."""
    weather, verdict = outcome.weather, outcome.verdict
    lines: list[tuple[str, object]] = [
        ("kills", _counts(outcome.replicas.kills)),
        ("forks by depth", _counts(dict(sorted(weather.forks.items())))),
        ("forks by what became of transactions", _counts(weather.ways)),
        ("burn blocks, crashes of the VM", f"{weather.burn_blocks}, {weather.crashes}"),
        ("broadcasts, requests, nonces with a chance of a fault", _counts(weather.drawn)),
        *((f"fault {kind}", count) for kind, count in sorted(weather.injected.items())),
        ("answers that a caller repeats on", _counts(outcome.customer.refusals)),
        ("events withdrawn, connections of the consumers", _consumers(outcome)),
        ("transactions signed, replaced", f"{len(outcome.gateway.transactions)}, {outcome.gateway.replaced}"),
        ("mined without an effect, to fill a nonce", f"{verdict.wasted}, {verdict.fillers}"),
        ("intents that ended in the storm", outcome.ended_in_storm),
        ("seconds of storm, in all", f"{outcome.storm_seconds:.0f}, {outcome.seconds:.0f}"),
    ]
    for name, value in lines:
        say(f"  {name:<54} {value}")
    found = differences(outcome)
    for line in [*found[:_SHOWN], *missing]:
        say(f"  ! {line}")
    if len(found) > _SHOWN:
        say(f"  ! and {len(found) - _SHOWN} more")


def broken(intents: int, seed: int, error: BaseException) -> str:
    """The same line for a play that did not come to its end: nothing is known of effects and gaps."""
    why = f"{type(error).__name__}: {error}"[:300]
    return json.dumps(
        {"intents": intents, "effects": None, "gaps": None, "differences": None, "error": why, "seed": seed}
    )


def summary(outcome: Outcome, missing: Sequence[str], seed: int) -> str:
    """One line of JSON; `shortcomings` are what the play itself left undone, and a play that has any fails."""
    verdict, weather = outcome.verdict, outcome.weather
    content: dict[str, Any] = {
        "intents": verdict.intents,
        "effects": verdict.effects,
        "gaps": verdict.gaps,
        "differences": len(differences(outcome)),
        "shortcomings": list(missing),
        "wasted": verdict.wasted,
        "fillers": verdict.fillers,
        "replaced": outcome.gateway.replaced,
        "transactions": len(outcome.gateway.transactions),
        "ended_in_storm": outcome.ended_in_storm,
        "kills": outcome.replicas.killed,
        "forks": weather.forks.total(),
        "drawn": dict(weather.drawn),
        "faults": dict(sorted(weather.injected.items())),
        "seconds": round(outcome.seconds, 1),
        "seed": seed,
    }
    return json.dumps(content)


def _consumers(outcome: Outcome) -> str:
    withdrawals = sum(one.withdrawals for one in outcome.followers)
    return f"{withdrawals}, {sum(one.connections for one in outcome.followers)}"


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"
