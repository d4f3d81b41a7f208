"""Settings of the oracle service; the only reader of its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import SettingsError, read_settings
from services.oracle.domain.aggregation import AggregationRules
from services.oracle.domain.freshness import FreshnessRules
from services.oracle.domain.publication import PublicationRules


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case. Addresses are `host:port`.

    `listen`: where it serves; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres, schema `oracle`.
    `identity_address`, `chain_gateway_address`: the services that it reads. `temporal_address` and
    `temporal_namespace`: where publications run. `service_secret_file` (its client secret) and `oracle_key_file`
    (what it signs with) have mode 0600. `chain_id`, `contract_deployer` and `network` go into what is signed.

    Intervals and ages are seconds of market time. `price_source` is `replay`: recorded days in the folder
    `price_data`, seen through simulated exchanges whose noise follows `replay_seed`. A round is made every
    `observation_seconds`, also for the last `catch_up_seconds` that were missed, of `minimum_sources` at least, none
    older than `source_max_age_seconds` or further than `outlier_band_bps` from the median. A price that is read is
    DEGRADED after `price_degraded_after_seconds`, UNAVAILABLE after `price_unavailable_after_seconds`. A round is
    published at `publication_deviation_bps` or after `publication_heartbeat_seconds`; it fits a receipt within
    `round_distance_blocks` burn blocks and `round_agreement_bps`, as the contracts' parameters say.
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
    price_data: Path
    price_source: str = "replay"
    replay_seed: int = 1
    metrics_port: int = 0
    temporal_namespace: str = "default"
    observation_seconds: int = 60
    catch_up_seconds: int = 172_800
    minimum_sources: int = 3
    source_max_age_seconds: int = 60
    outlier_band_bps: int = 150
    price_degraded_after_seconds: int = 300
    price_unavailable_after_seconds: int = 3600
    publication_deviation_bps: int = 50
    publication_heartbeat_seconds: int = 600
    round_distance_blocks: int = 2
    round_agreement_bps: int = 300

    def __post_init__(self) -> None:
        if self.price_source != "replay":
            raise SettingsError(f"PRICE_SOURCE is not a known source: {self.price_source!r}")
        if self.observation_seconds < 1 or 1800 % self.observation_seconds:
            raise SettingsError("OBSERVATION_SECONDS must divide 1800")
        if self.minimum_sources < 1:
            raise SettingsError("MINIMUM_SOURCES must be at least 1")

    @property
    def aggregation(self) -> AggregationRules:
        """How observations become a price."""
        return AggregationRules(self.minimum_sources, self.source_max_age_seconds, self.outlier_band_bps)

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
        )


def settings() -> Settings:
    """Reads the environment; SettingsError names what is missing or wrong."""
    return read_settings(Settings, os.environ)
