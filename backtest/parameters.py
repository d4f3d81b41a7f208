"""The on-chain parameters of a back-test: the defaults that the `parameter` contract declares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from services.policy.domain.parameters import Parameters

CONTRACT: Final = Path(__file__).resolve().parents[1] / "contracts" / "contracts" / "parameter.clar"
_PLAIN: Final = re.compile(r'^\(declare "([a-z0-9.-]+)" u(\d+) u\d+ u\d+\)', re.MULTILINE)
_TIER: Final = re.compile(r'^\(declare-tier "([a-z]+\.)"((?: u\d+)+)\)', re.MULTILINE)
_SUFFIX: Final = re.compile(r'\(declare \(concat prefix "([a-z-]+)"\)')


def contract_defaults() -> Parameters:
    """Name and value of every parameter as deployed. ValueError if the contract has another form."""
    text = CONTRACT.read_text(encoding="utf-8")
    values = {name: int(value) for name, value in _PLAIN.findall(text)}
    suffixes = _SUFFIX.findall(text)
    for prefix, numbers in _TIER.findall(text):
        for suffix, number in zip(suffixes, numbers.split(), strict=True):
            values[prefix + suffix] = int(number.removeprefix("u"))
    return Parameters(values)
