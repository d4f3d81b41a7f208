"""The four contracts of a deployment: their principals, and which of their functions the gateway calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.clarity import ContractPrincipal
from services.chain_gateway.stacks.post_condition import Asset
from services.chain_gateway.stacks.transaction import Network

PARAMETER: Final = "parameter"
ORACLE: Final = "oracle"
VAULT: Final = "liquidity-pool-vault"
REGISTRY: Final = "policy-registry"
NAMES: Final = (PARAMETER, ORACLE, VAULT, REGISTRY)


@dataclass(frozen=True)
class Contracts:
    """Where the contracts are. `network_name` is `mainnet` or `testnet`."""

    network_name: str
    network: Network
    deployer: Address
    sbtc: Asset

    def principal(self, name: str) -> ContractPrincipal:
        """The principal of one of `NAMES`."""
        return ContractPrincipal(self.deployer, name)

    def name_of(self, contract: str) -> str | None:
        """Which of `NAMES` the principal `contract` is, None when it is not ours."""
        return self._names.get(contract)

    @cached_property
    def _names(self) -> dict[str, str]:
        """By principal: spelling an address costs more than all else that is done with most events."""
        return {f"{self.deployer.text}.{name}": name for name in NAMES}

    @property
    def is_mainnet(self) -> bool:
        """Whether this is the main network."""
        return self.network_name == "mainnet"

    @property
    def account_version(self) -> AddressVersion:
        """The address version of accounts of one key on this network."""
        return AddressVersion.MAINNET_SINGLE_SIG if self.is_mainnet else AddressVersion.TESTNET_SINGLE_SIG
