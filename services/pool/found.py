"""What a comparison found, as it waits in the database for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernel.units import Token
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference


@dataclass(frozen=True)
class Found:
    """Differences of so many policies, found without a lock while the ledger stood at `burn_height`.

    `faults` are the journal's, `covered` what the contracts' open policies claim, base units.
    """

    differences: Sequence[Difference]
    policies: int
    burn_height: int
    faults: Sequence[tuple[str, str]]
    covered: Mapping[Token, int]


def found_json(found: Found) -> dict[str, Any]:
    """For its row."""
    return {
        "differences": [asdict(difference) for difference in found.differences],
        "policies": found.policies,
        "burn_height": found.burn_height,
        "faults": [list(fault) for fault in found.faults],
        "covered": {token.name: amount for token, amount in found.covered.items()},
    }


def found_from(row: Mapping[str, Any]) -> Found:
    """Of its row."""
    return Found(
        [Difference(**{**said, "cause": LikelyCause(said["cause"])}) for said in row["differences"]],
        row["policies"],
        row["burn_height"],
        [(kind, subject) for kind, subject in row["faults"]],
        {Token[name]: amount for name, amount in row["covered"].items()},
    )
