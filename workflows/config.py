"""Settings of the worker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import read_settings


@dataclass(frozen=True)
class Settings:
    """What the worker needs.

    `temporal_address` and the five services' addresses are `host:port`; `temporal_namespace` is where the workflows
    live. `service_secret_file` holds the worker's client secret and is readable by its owner alone. `metrics_port` 0
    serves no metrics. `reconciliation_interval_seconds` is wall time between two reconciliations by the schedule.
    """

    temporal_address: str
    identity_address: str
    chain_gateway_address: str
    oracle_address: str
    policy_address: str
    pool_address: str
    service_secret_file: Path
    temporal_namespace: str = "default"
    metrics_port: int = 0
    reconciliation_interval_seconds: int = 3600


def load_settings() -> Settings:
    """From the environment."""
    return read_settings(Settings, os.environ)
