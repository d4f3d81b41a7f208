"""Deploys the contracts with real signed transactions and names the keys that may act; as a deployment would."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.devnet.driver import DevnetClient, DevnetError
from deploy.wallet.driver import Account, Wallet
from services.chain_gateway.stacks import clarity
from services.chain_gateway.stacks.signer import KeySigner

_ORDER: Final = ("parameter", "oracle", "liquidity-pool-vault", "policy-registry")
# A day of burn blocks: time to notice a change that nobody should have asked for, and to cancel it.
CHANGE_DELAY_BLOCKS: Final = 144
_FEE_USTX: Final = 200_000
_ADMIN_FUNDS_USTX: Final = 1_000_000_000_000
_BACKEND_FUNDS_USTX: Final = 1_000_000_000_000
# Version byte of single-signature addresses on test networks (SIP-005).
_TESTNET_VERSION: Final = 26


class DeploymentError(Exception):
    """A transaction of the deployment was refused."""


class _Node(DevnetClient):
    async def is_deployed(self, address: str, name: str) -> bool:
        try:
            await self.get(f"/v2/contracts/interface/{address}/{name}")
        except DevnetError:
            return False
        return True

    async def answers(self, address: str, function: str, argument: str, expected: clarity.ClarityValue) -> bool:
        """Whether a read-only function of `parameter` answers what is expected."""
        body = {"sender": address, "arguments": [f"0x{argument}"]}
        answer = await self.post(f"/v2/contracts/call-read/{address}/parameter/{function}", body)
        return bool(answer.get("result") == f"0x{clarity.serialize(expected).hex()}")


async def deploy_contracts(
    node_url: str,
    admin_seed: str,
    sources: Path,
    backend_key: Path,
    oracle_key: Path,
    change_delay_blocks: int = CHANGE_DELAY_BLOCKS,
) -> str:
    """The deployer's address. Does only what is not there yet, so it may be interrupted and run again.

    Its last act makes later keys and changes of parameters wait `change_delay_blocks` burn blocks.
    """
    async with _Node(node_url) as devnet, Wallet(node_url) as wallet:
        admin = await wallet.address(admin_seed)
        deployment = _Deployment(devnet, wallet, admin)
        backend, oracle = KeySigner.from_file(backend_key), KeySigner.from_file(oracle_key)
        backend_address = backend.address(_TESTNET_VERSION).text
        await deployment.fund(admin.address, _ADMIN_FUNDS_USTX)
        await deployment.fund(backend_address, _BACKEND_FUNDS_USTX)
        for name in _ORDER:
            await deployment.deploy(name, (sources / f"{name}.clar").read_text())
        await deployment.grant("backend-principal", clarity.parse_principal(backend_address))
        await deployment.grant("oracle-key", clarity.Buffer(oracle.public_key))
        await deployment.delay_changes(change_delay_blocks)
    return admin.address


class _Deployment:
    def __init__(self, devnet: _Node, wallet: Wallet, admin: Account) -> None:
        self._devnet = devnet
        self._wallet = wallet
        self._admin = admin

    async def fund(self, address: str, ustx: int) -> None:
        balances = await self._devnet.get(f"/extended/v1/address/{address}/balances")
        if int(balances["stx"]["balance"]) < ustx // 2:
            await self._done(await self._devnet.faucet_stx(address, ustx))

    async def deploy(self, name: str, code: str) -> None:
        if await self._devnet.is_deployed(self._admin.address, name):
            return
        signed = await self._wallet.deploy(self._admin.seed, name, code, fee=_FEE_USTX)
        await self._done(await self._wallet.broadcast(signed.raw))

    async def grant(self, what: str, value: clarity.ClarityValue) -> None:
        """`add-{what}` unless `is-{what}` already."""
        argument = clarity.serialize(value).hex()
        if not await self._devnet.answers(self._admin.address, f"is-{what}", argument, clarity.Bool(True)):
            await self._change(f"add-{what}", [argument])

    async def delay_changes(self, blocks: int) -> None:
        """Sets the delay of later changes, unless one is set: from then on changing it waits too."""
        name = clarity.serialize(clarity.StringAscii("admin.delay-blocks")).hex()
        none = clarity.ResponseOk(clarity.UInt(0))
        if blocks and await self._devnet.answers(self._admin.address, "get-parameter", name, none):
            await self._change("set-parameter", [name, clarity.serialize(clarity.UInt(blocks)).hex()])

    async def _change(self, function: str, arguments: list[str]) -> None:
        contract = f"{self._admin.address}.parameter"
        signed = await self._wallet.call(self._admin.seed, contract, function, arguments, fee=_FEE_USTX)
        await self._done(await self._wallet.broadcast(signed.raw))

    async def _done(self, txid: str) -> None:
        transaction = await self._devnet.wait_for(txid)
        if transaction["tx_status"] != "success":
            raise DeploymentError(f"transaction {txid}: {transaction['tx_status']} {transaction.get('tx_result')}")
