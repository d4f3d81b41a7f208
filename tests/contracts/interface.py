"""The contracts' public functions as the VM knows them, and a contract that stands between them and a caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tests.contracts.chain import CONTRACTS, Actor, Chain
from tests.contracts.vm import VM

IN_BETWEEN: Final = "in-between"


@dataclass(frozen=True)
class PublicFunction:
    """One public function: its contract, its name, and each parameter's name and type in Clarity's own words."""

    contract: str
    name: str
    parameters: tuple[tuple[str, str], ...]


def public_functions(vm: VM) -> tuple[PublicFunction, ...]:
    """All public functions of the deployed contracts, in the contracts' order and by name."""
    return tuple(
        PublicFunction(contract, one["name"], tuple((each["name"], _type(each["type"])) for each in one["args"]))
        for contract in CONTRACTS
        for one in sorted(vm.interface(contract)["functions"], key=lambda one: str(one["name"]))
        if one["access"] == "public"
    )


def deploy_in_between(chain: Chain, deployer: Actor) -> None:
    """Deploys a contract that passes every public function on: its callers stay `tx-sender`, it is the caller."""
    chain.vm.deploy(
        deployer.address, IN_BETWEEN, "\n".join(_passed_on(chain, one) for one in public_functions(chain.vm))
    )


def _passed_on(chain: Chain, function: PublicFunction) -> str:
    parameters = "".join(f" ({name} {kind})" for name, kind in function.parameters)
    arguments = "".join(f" {name}" for name, _ in function.parameters)
    target = f"'{chain.vm.contract(function.contract)} {function.name}"
    return f"(define-public ({function.name}{parameters}) (contract-call? {target}{arguments}))"


def _type(found: Any) -> str:
    if isinstance(found, str):
        return {"uint128": "uint", "int128": "int"}.get(found, found)
    ((kind, inside),) = found.items()
    match kind:
        case "buffer":
            return f"(buff {inside['length']})"
        case "string-ascii":
            return f"(string-ascii {inside['length']})"
        case "list":
            return f"(list {inside['length']} {_type(inside['type'])})"
        case "tuple":
            return "{ " + ", ".join(f"{one['name']}: {_type(one['type'])}" for one in inside) + " }"
    raise TypeError(f"no type {kind}")
