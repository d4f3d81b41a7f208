"""Settings of the policy service; the only reader of its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import read_settings


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case. Addresses are `host:port`.

    `listen`: where it serves; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres, schema `policy`.
    `identity_address`, `chain_gateway_address`, `oracle_address`, `pool_address`: the services that it reads.
    `temporal_address` and `temporal_namespace`: where its workflows run. `service_secret_file`: its client secret,
    mode 0600. `contract_deployer`: the address that deployed the contracts. `expiry_batches_at_once`: of one expiration
    height, on their way into a block; a node keeps 25 transactions of a backend key waiting.
    """

    listen: str
    database_url: str
    identity_address: str
    chain_gateway_address: str
    oracle_address: str
    pool_address: str
    temporal_address: str
    service_secret_file: Path
    contract_deployer: str
    metrics_port: int = 0
    temporal_namespace: str = "default"
    expiry_batches_at_once: int = 16

    @property
    def vault(self) -> str:
        """The pool vault, which writes every policy."""
        return f"{self.contract_deployer}.liquidity-pool-vault"


def settings() -> Settings:
    """Reads the environment; SettingsError names what is missing."""
    return read_settings(Settings, os.environ)
