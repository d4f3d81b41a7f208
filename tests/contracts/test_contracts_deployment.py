"""The deployment itself, on a devnet with signed transactions: what it leaves behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deploy.local.contracts import CHANGE_DELAY_BLOCKS, deploy_contracts
from deploy.wallet.driver import Wallet
from services.chain_gateway.stacks.clarity import Bool, ResponseOk, StringAscii, UInt, from_hex, serialize
from tests.contracts.chain import SOURCES
from tests.devnet import Devnet, running_devnet


def write_key(path: Path, number: int) -> Path:
    """A key file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text((bytes([number]) * 32).hex() + "01")
    os.chmod(path, 0o600)
    return path


async def change(devnet: Devnet, deployer: str, value: int) -> Any:
    """How a change of the fee by the admin ends."""
    arguments = [serialize(one).hex() for one in (StringAscii("policy.fee-bps"), UInt(value))]
    async with Wallet(devnet.url) as wallet:
        signed = await wallet.call("admin", f"{deployer}.parameter", "set-parameter", arguments)
        ended = await devnet.wait_for(await wallet.broadcast(signed.raw))
    return from_hex(ended["tx_result"]["hex"])


async def test_a_deployment_ends_with_a_delay_for_the_admin(tmp_path: Path) -> None:
    """After the deployment, also when it is run again, a change by the admin's key alone is only scheduled."""
    backend, oracle = write_key(tmp_path / "backend", 11), write_key(tmp_path / "oracle", 12)
    async with running_devnet(tmp_path / "chain") as devnet:
        for _ in range(2):
            deployer = await deploy_contracts(devnet.url, "admin", SOURCES, backend, oracle)
        assert await change(devnet, deployer, 60) == ResponseOk(Bool(False))
        await devnet.mine_burn_blocks(CHANGE_DELAY_BLOCKS)
        assert await change(devnet, deployer, 60) == ResponseOk(Bool(True))
