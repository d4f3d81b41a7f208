"""Settings of the oracle that contradict themselves are refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kernel.settings import SettingsError
from services.oracle.config import Settings

GOOD = Settings("a", "b", "c", "d", "e", Path("f"), Path("g"), 1, "h", "i", Path("j"))


def test_limits_and_weights_of_single_sources_are_read() -> None:
    """`kraken=90` is the limit or weight of kraken alone."""
    made = dataclasses.replace(GOOD, source_max_ages=("kraken=90",), source_weights=("okx=2", "kraken=3"))
    assert made.aggregation.max_age("kraken").total_seconds() == 90
    assert made.aggregation.max_age("okx").total_seconds() == 60
    assert made.aggregation.voting.weights == {"okx": 2, "kraken": 3}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source_max_ages": ("kraken",)}, "SOURCE_MAX_AGES"),
        ({"source_max_ages": ("kraken=0",)}, "SOURCE_MAX_AGES"),
        ({"source_max_ages": ("kraken=301",)}, "SOURCE_MAX_AGES"),
        ({"source_max_age_seconds": 301}, "SOURCE_MAX_AGE_SECONDS"),
        ({"source_weights": ("okx=1001",)}, "SOURCE_WEIGHTS"),
        ({"source_weights": ("okx=1", "okx=2")}, "SOURCE_WEIGHTS"),
        ({"source_weights": ("=1",)}, "SOURCE_WEIGHTS"),
        ({"max_source_share_bps": 0}, "MAX_SOURCE_SHARE_BPS"),
        ({"max_rate_share_bps": 5_000}, "MAX_RATE_SHARE_BPS"),
        ({"jump_sources": 2}, "JUMP_SOURCES"),
        ({"jump_base_bps": 2_001}, "JUMP_BASE_BPS"),
        ({"jump_per_minute_bps": -1}, "JUMP_PER_MINUTE_BPS"),
        ({"jump_rounds": 0}, "JUMP_ROUNDS"),
        ({"jump_seconds": 59}, "JUMP_SECONDS"),
    ],
)
def test_what_contradicts_itself_is_refused(change: dict[str, object], named: str) -> None:
    """Each bad value is refused at the start, with the name of its variable."""
    with pytest.raises(SettingsError, match=named):
        dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
