"""Settings of the oracle service; the only reader of its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernel.settings import SettingsError, read_settings
from kernel.units import BPS
from services.oracle.domain.aggregation import AggregationRules
from services.oracle.domain.breaker import BreakerRules
from services.oracle.domain.freshness import FreshnessRules
from services.oracle.domain.onchain import OnchainRules
from services.oracle.domain.override import OverrideRules
from services.oracle.domain.publication import PublicationRules
from services.oracle.domain.votes import LARGEST_WEIGHT, VotingRules

# No observation that a settlement rests on is older than this at its round, whatever the settings say.
_OLDEST_SECONDS: Final = 300


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case. Addresses are `host:port`.

    `listen`: where it serves; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres, schema `oracle`.
    `identity_address`, `chain_gateway_address`: the services that it reads. `temporal_address` and
    `temporal_namespace`: where publications run. `service_secret_file` (its client secret) and `oracle_key_file`
    (what it signs with) have mode 0600. `chain_id`, `contract_deployer` and `network` go into what is signed.

    Intervals and ages are seconds of market time. `price_source` is `replay`, recorded days in the folder `price_data`
    seen through simulated exchanges whose noise follows `replay_seed`, or `live`, the exchanges of the TOML file
    `live_sources_file` (the built-in `feeds/live/live_sources.toml` if empty). A round is made every
    `observation_seconds`, also for those of the last `catch_up_seconds` that were missed (2,880 of them at the most),
    of `minimum_sources` at least, none older than `source_max_age_seconds` or further than `outlier_band_bps` from the
    median. `source_max_ages` is for those with a limit of their own, `source_weights` for those whose vote does not
    weigh 1, as `kraken=90,okx=30`; no source has more than `max_source_share_bps` of the votes, no sources that are
    converted by one rate together more than `max_rate_share_bps`. A price that moves by more than `jump_per_minute_bps`
    a minute with `jump_base_bps` to either side, or by `jump_most_bps` after any time, is believed once `jump_sources`
    have agreed in `jump_rounds` rounds and for `jump_seconds`, or where two operators said so: for
    `override_longest_seconds` at the most, in a range of `override_widest_bps`. A price that is read is DEGRADED after
    `price_degraded_after_seconds`, UNAVAILABLE after `price_unavailable_after_seconds`. A round is published at
    `publication_deviation_bps` or after `publication_heartbeat_seconds`, not with observations older than
    `publication_max_age_seconds`; it fits a receipt within `round_distance_blocks` burn blocks and
    `round_agreement_bps`, as the contracts' parameters say. The price on chain is in doubt further than
    `onchain_difference_bps` from ours or after `onchain_max_age_seconds`. Observations on which no money was decided
    are removed after `observation_retention_days`.
    """

    listen: str
    database_url: str
    identity_address: str
    chain_gateway_address: str
    temporal_address: str
    service_secret_file: Path
    oracle_key_file: Path
    chain_id: int
    contract_deployer: str
    network: str
    price_data: Path | None = None
    price_source: str = "replay"
    live_sources_file: str = ""
    replay_seed: int = 1
    metrics_port: int = 0
    temporal_namespace: str = "default"
    observation_seconds: int = 60
    catch_up_seconds: int = 172_800
    minimum_sources: int = 3
    source_max_age_seconds: int = 60
    outlier_band_bps: int = 150
    source_max_ages: tuple[str, ...] = ()
    source_weights: tuple[str, ...] = ()
    max_source_share_bps: int = 3_400
    max_rate_share_bps: int = 4_500
    jump_base_bps: int = 300
    jump_per_minute_bps: int = 50
    jump_most_bps: int = 2_000
    jump_sources: int = 4
    jump_rounds: int = 3
    jump_seconds: int = 120
    override_longest_seconds: int = 21_600
    override_widest_bps: int = 2_000
    price_degraded_after_seconds: int = 300
    price_unavailable_after_seconds: int = 3600
    publication_deviation_bps: int = 50
    publication_heartbeat_seconds: int = 600
    round_distance_blocks: int = 2
    round_agreement_bps: int = 300
    publication_max_age_seconds: int = 300
    onchain_difference_bps: int = 200
    onchain_max_age_seconds: int = 1800
    observation_retention_days: int = 400

    def __post_init__(self) -> None:
        if self.price_source not in ("replay", "live"):
            raise SettingsError(f"PRICE_SOURCE is not a known source: {self.price_source!r}")
        if self.price_source == "replay" and self.price_data is None:
            raise SettingsError("PRICE_DATA is not set")
        if self.observation_seconds < 1 or 1800 % self.observation_seconds:
            raise SettingsError("OBSERVATION_SECONDS must divide 1800")
        if self.minimum_sources < 1:
            raise SettingsError("MINIMUM_SOURCES must be at least 1")
        if self.observation_retention_days < 1:
            raise SettingsError("OBSERVATION_RETENTION_DAYS must be at least 1")
        self._check_votes_and_jumps()

    def _check_votes_and_jumps(self) -> None:
        _by_source("SOURCE_MAX_AGES", self.source_max_ages, _OLDEST_SECONDS)
        _by_source("SOURCE_WEIGHTS", self.source_weights, LARGEST_WEIGHT)
        if not 0 < self.source_max_age_seconds <= _OLDEST_SECONDS:
            raise SettingsError(f"SOURCE_MAX_AGE_SECONDS must be within 1 and {_OLDEST_SECONDS}")
        if not 0 < self.max_source_share_bps <= BPS:
            raise SettingsError("MAX_SOURCE_SHARE_BPS must be within 1 and 10000")
        if not 0 < self.max_rate_share_bps < BPS // 2:
            raise SettingsError("MAX_RATE_SHARE_BPS must be below 5000: one rate alone is never a majority")
        if self.jump_sources < self.minimum_sources:
            raise SettingsError("JUMP_SOURCES must not be below MINIMUM_SOURCES")
        if not 0 <= self.jump_base_bps <= self.jump_most_bps or self.jump_per_minute_bps < 0:
            raise SettingsError("JUMP_BASE_BPS and JUMP_PER_MINUTE_BPS must not be negative, nor above JUMP_MOST_BPS")
        if self.jump_rounds < 1 or self.jump_seconds < self.observation_seconds:
            raise SettingsError("JUMP_ROUNDS must be positive, and JUMP_SECONDS not below OBSERVATION_SECONDS")

    @property
    def onchain(self) -> OnchainRules:
        """When the price on chain is in doubt."""
        return OnchainRules(self.onchain_difference_bps, self.onchain_max_age_seconds)

    @property
    def aggregation(self) -> AggregationRules:
        """How observations become a price."""
        return AggregationRules(
            self.minimum_sources,
            self.source_max_age_seconds,
            self.outlier_band_bps,
            _by_source("SOURCE_MAX_AGES", self.source_max_ages, _OLDEST_SECONDS),
            VotingRules(
                _by_source("SOURCE_WEIGHTS", self.source_weights, LARGEST_WEIGHT),
                self.max_source_share_bps,
                self.max_rate_share_bps,
            ),
        )

    @property
    def breaker(self) -> BreakerRules:
        """When a jump is believed."""
        return BreakerRules(
            self.jump_base_bps,
            self.jump_per_minute_bps,
            self.jump_most_bps,
            self.jump_sources,
            self.jump_rounds,
            self.jump_seconds,
        )

    @property
    def overrides(self) -> OverrideRules:
        """What two operators may say to the breaker."""
        return OverrideRules(self.override_longest_seconds, self.override_widest_bps)

    @property
    def freshness(self) -> FreshnessRules:
        """How old a price may be when it is read."""
        return FreshnessRules(self.price_degraded_after_seconds, self.price_unavailable_after_seconds)

    @property
    def publication(self) -> PublicationRules:
        """When a round goes on chain."""
        return PublicationRules(
            self.publication_deviation_bps,
            self.publication_heartbeat_seconds,
            self.round_distance_blocks,
            self.round_agreement_bps,
            self.publication_max_age_seconds,
        )


def _by_source(variable: str, entries: Sequence[str], most: int) -> Mapping[str, int]:
    """`kraken=90` and the like; SettingsError unless each is a source with a number from 1 to `most`, once."""
    found: dict[str, int] = {}
    for entry in entries:
        name, _, number = entry.partition("=")
        if not name or name in found or not (number.isascii() and number.isdigit() and 1 <= int(number) <= most):
            raise SettingsError(f"{variable}: expected source=number, 1 to {most}, each source once: {entry!r}")
        found[name] = int(number)
    return found


@dataclass(frozen=True)
class VerifySettings:
    """What receipts are checked against where the command does not say: the oracle's public key or address, and the
    deployer of the contracts."""

    oracle_key: str = ""
    contract_deployer: str = ""


def verify_settings() -> VerifySettings:
    """Reads the environment of whoever checks a receipt."""
    return read_settings(VerifySettings, os.environ)


def settings() -> Settings:
    """Reads the environment; SettingsError names what is missing or wrong."""
    return read_settings(Settings, os.environ)
