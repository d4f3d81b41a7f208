"""Settings of the chain gateway; the only reader of its environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from kernel.settings import SettingsError, read_settings
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import MAX_CONFIRMATIONS
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.post_condition import parse_asset
from services.chain_gateway.stacks.signer import ENVIRONMENT, SCHEMES
from services.chain_gateway.stacks.transaction import MAINNET, TESTNET, Network

NETWORKS: Final[dict[str, Network]] = {"mainnet": MAINNET, "testnet": TESTNET}
_WEIGHT: Final = re.compile(r"[0-9]{1,3}")
# A key that signs holds two connections of the process's ten for a moment.
_MOST_SIGNERS: Final = 5
MARKET_CLOCKS: Final = ("wall", "devnet")
_SBTC: Final = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token::sbtc-token"


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case. Addresses are `host:port`.

    `listen`: where it serves; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres, schema
    `chain_gateway`. `identity_address`: whose tokens it accepts. `node_urls`: Stacks nodes; where one fails another is
    asked, each exchange given `node_timeout_seconds`. `node_weights`: one whole number per node, its share of the
    questions (all equal if empty; 0 is a stand-by). A node more than `node_lag_blocks` behind the best, or whose tip
    has not moved for `node_tip_age_seconds`, is asked last; every `node_watch_seconds` their tips are compared.
    `network` is `mainnet` or `testnet` (also the devnet's).
    `contract_deployer`: the address that deployed the contracts; `sbtc_asset`: `contract::asset` of sBTC.
    `backend_signers`: one `file:/path` (mode 0600), `env:VARIABLE` (never on mainnet) or `awskms:key id, ARN or alias`
    per backend key. `sponsor_signer`: the same for the key that pays the fees of users' transactions, another one that
    needs STX and no rights; none does if empty. `sponsor_fee_cap_ustx` bounds such a fee, `sponsor_most_per_day` how
    many an account is given in a UTC day. `signing_policy_file`: TOML, the built-in policy if empty. `market_clock`
    `devnet` takes market time from a devnet, which must then be the node. `finality_burn_confirmations`: burn blocks
    until a block is final. `poll_interval_ms`: how often a node is asked for new blocks. `fee_floor_ustx` and
    `fee_cap_ustx` bound the fee of a transaction. `stuck_blocks`: how many Stacks blocks the next transaction of an
    account may wait in the mempool before its fee is raised. `queue_limit`: intents that may wait.
    `start_stacks_height`: the first block whose events matter, at or before deployment.
    """

    listen: str
    database_url: str
    identity_address: str
    node_urls: tuple[str, ...]
    contract_deployer: str
    backend_signers: tuple[str, ...]
    network: str = "testnet"
    metrics_port: int = 0
    market_clock: str = "wall"
    finality_burn_confirmations: int = 1
    poll_interval_ms: int = 100
    node_timeout_seconds: float = 10.0
    node_weights: tuple[str, ...] = ()
    node_lag_blocks: int = 5
    node_tip_age_seconds: float = 120.0
    node_watch_seconds: float = 10.0
    fee_floor_ustx: int = 1_000
    fee_cap_ustx: int = 5_000_000
    stuck_blocks: int = 60
    queue_limit: int = 1_000
    start_stacks_height: int = 1
    sbtc_asset: str = _SBTC
    signing_policy_file: str = ""
    sponsor_signer: str = ""
    sponsor_fee_cap_ustx: int = 100_000
    sponsor_most_per_day: int = 10

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise SettingsError("NETWORK is neither mainnet nor testnet")
        if self.market_clock not in MARKET_CLOCKS:
            raise SettingsError("MARKET_CLOCK is neither wall nor devnet")
        self._check_nodes()
        self._check_signers()
        if not 0 <= self.fee_floor_ustx <= min(self.fee_cap_ustx, self.sponsor_fee_cap_ustx):
            raise SettingsError("FEE_FLOOR_USTX is above FEE_CAP_USTX or SPONSOR_FEE_CAP_USTX")
        if self.sponsor_most_per_day < 1:
            raise SettingsError("SPONSOR_MOST_PER_DAY starts at 1; without SPONSOR_SIGNER nothing is sponsored")
        if min(self.finality_burn_confirmations, self.poll_interval_ms, self.start_stacks_height) < 1:
            raise SettingsError("FINALITY_BURN_CONFIRMATIONS, POLL_INTERVAL_MS and START_STACKS_HEIGHT start at 1")
        if self.finality_burn_confirmations > MAX_CONFIRMATIONS:
            raise SettingsError(f"FINALITY_BURN_CONFIRMATIONS is above {MAX_CONFIRMATIONS}")

    def _check_nodes(self) -> None:
        if not self.node_urls:
            raise SettingsError("NODE_URLS names no node")
        weights = self.node_weights
        if weights and (len(weights) != len(self.node_urls) or not all(map(_WEIGHT.fullmatch, weights))):
            raise SettingsError("NODE_WEIGHTS: one whole number below 1000 for each of NODE_URLS")
        if self.node_lag_blocks < 0 or min(self.node_tip_age_seconds, self.node_watch_seconds) <= 0:
            raise SettingsError("NODE_LAG_BLOCKS, NODE_TIP_AGE_SECONDS or NODE_WATCH_SECONDS is too small")

    def _check_signers(self) -> None:
        if not self.backend_signers:
            raise SettingsError("BACKEND_SIGNERS names no signer")
        if len(self.backend_signers) > _MOST_SIGNERS:
            raise SettingsError(f"BACKEND_SIGNERS names more than {_MOST_SIGNERS} signers")
        for uri in self.signers:
            scheme, _, rest = uri.partition(":")
            if scheme not in SCHEMES or not rest:
                # The rest is not shown: somebody may have put a key here.
                raise SettingsError("BACKEND_SIGNERS, SPONSOR_SIGNER: each is file:/path, env:VARIABLE or awskms:key")
            if scheme == ENVIRONMENT and self.network == "mainnet":
                raise SettingsError("BACKEND_SIGNERS: a key in the environment is for development, not for mainnet")

    @property
    def signers(self) -> tuple[str, ...]:
        """All keys of the gateway."""
        return (*self.backend_signers, self.sponsor_signer) if self.sponsor_signer else self.backend_signers

    def contracts(self) -> Contracts:
        """The contracts of this deployment; SettingsError when an address is not one."""
        try:
            deployer = parse_address(self.contract_deployer)
            return Contracts(self.network, NETWORKS[self.network], deployer, parse_asset(self.sbtc_asset))
        except CodecError as error:
            raise SettingsError(f"CONTRACT_DEPLOYER or SBTC_ASSET: {error}") from error


def read() -> Settings:
    """The settings of this process."""
    return read_settings(Settings, os.environ)


def take_key_variables(settings: Settings) -> dict[str, str]:
    """The keys that `env:` signers name, taken out of the environment, where child processes would inherit them."""
    names = [uri.partition(":")[2] for uri in settings.signers if uri.startswith(f"{ENVIRONMENT}:")]
    absent = [name for name in names if name not in os.environ]
    if absent:
        raise SettingsError(f"BACKEND_SIGNERS: {absent[0]} is not set")
    return {name: os.environ.pop(name) for name in dict.fromkeys(names)}
