"""From one backend key to another on the real contracts while work goes on, as docs/key_rotation.md says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from bithedge.chain_gateway.v1 import backend_key_service_pb2 as keys_pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2
from sqlmodel import col, select

from kernel.ids import new_id
from kernel.rpc.caller import Role
from services.chain_gateway.config import Settings
from services.chain_gateway.contracts import PARAMETER, REGISTRY
from services.chain_gateway.convert_terms import quote
from services.chain_gateway.stacks.c32 import AddressVersion, parse_address
from services.chain_gateway.stacks.clarity import StandardPrincipal, serialize
from services.chain_gateway.stacks.keys import address_of
from services.chain_gateway.stacks.messages import recover_structured, structured_domain
from services.chain_gateway.stacks.signer_kms import KmsSigner
from services.chain_gateway.tables import ChainTransaction
from services.chain_gateway.tables_keys import BackendKeyChange
from tests.integration.chain_gateway.kms import ENVIRONMENT, Kms, kms_client, running_kms
from tests.integration.chain_gateway.scripted_node import scripted_node
from tests.integration.chain_gateway.wallets import reason
from tests.integration.chain_gateway.world import SERVICE, USD, RunningGateway, World, running_gateway, write_key
from tests.tokens import metadata

_OPERATOR_PRINCIPAL = "ST000000000000000000002AMW42H"
_OPERATOR = metadata(_OPERATOR_PRINCIPAL, Role.OPERATOR)
_SECONDS = 60
_ACTIVE, _PREFERRED = keys_pb.BACKEND_KEY_STATE_ACTIVE, keys_pb.BACKEND_KEY_STATE_PREFERRED
_DRAINING, _REMOVED = keys_pb.BACKEND_KEY_STATE_DRAINING, keys_pb.BACKEND_KEY_STATE_REMOVED


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    """Where the new key lives."""
    with running_kms() as running:
        yield running


@dataclass
class Rotation:
    """A gateway with two keys of which the contracts know the first one."""

    world: World
    gateway: RunningGateway
    old: str
    new: str
    intents: list[pb.Intent] = field(default_factory=list)

    async def key(self, address: str) -> keys_pb.BackendKey:
        """A key as it is listed."""
        answer = await self.gateway.keys.ListBackendKeys(keys_pb.ListBackendKeysRequest(), metadata=_OPERATOR)
        return next(key for key in answer.keys if key.principal == address)

    async def key_where(self, address: str, holds: Any) -> keys_pb.BackendKey:
        """A key once `holds(key)`."""
        async with asyncio.timeout(_SECONDS):
            while not holds(key := await self.key(address)):
                await asyncio.sleep(0.02)
        return key

    async def step(self, verb: str, address: str, request_id: str = "") -> keys_pb.BackendKey:
        """Takes a step."""
        request = getattr(keys_pb, f"{verb}BackendKeyRequest")(
            request_id=request_id or new_id(), name=f"backendKeys/{address}"
        )
        answer = await getattr(self.gateway.keys, f"{verb}BackendKey")(request, metadata=_OPERATOR)
        key: keys_pb.BackendKey = answer.key
        return key

    async def refusal(self, verb: str, address: str) -> str:
        """Why a step is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.step(verb, address)
        return reason(error.value)

    async def admin(self, function: str, address: str) -> int:
        """The admin's change of the set of principals; the height of its block."""
        contract, argument = f"{self.world.deployer}.{PARAMETER}", StandardPrincipal(parse_address(address))
        signed = await self.world.wallet.call("admin", contract, function, [serialize(argument).hex()])
        mined = await self.world.devnet.wait_for(await self.world.wallet.broadcast(signed.raw))
        assert mined["tx_status"] == "success"
        return int(mined["block_height"])

    async def work(self, count: int) -> None:
        """Asks for publications, one after the other."""
        for _ in range(count):
            message = await self.world.round(price_pb2.FEED_BTC_USD, 50_000 * USD)
            call = pb.ContractCall(publish_price=pb.PublishPriceCall(round=message))
            self.intents.append(await self.gateway.create_intent(f"publish/{new_id()}", call))

    async def confirmed(self) -> None:
        """Waits until every intent is mined, makes that final, and waits until every intent has ended well."""
        for intent in self.intents:
            await self.gateway.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))
        await self.world.devnet.mine_burn_blocks(1)
        for intent in self.intents:
            done = await self.gateway.intent_where(intent.name, lambda one: one.end_time.seconds)
            assert done.state == pb.INTENT_STATE_CONFIRMED

    async def sent(self) -> list[ChainTransaction]:
        """All transactions of the gateway, oldest first."""
        async with self.gateway.gateway.database.transaction() as session:
            return list(
                (await session.exec(select(ChainTransaction).order_by(col(ChainTransaction.create_time)))).all()
            )

    async def quote_signer(self) -> str:
        """Whose signature a quote gets."""
        terms = self.world.terms((await self.gateway.tip()).burn_height)
        signature = (await self.gateway.stub.SignQuote(pb.SignQuoteRequest(terms=terms), metadata=SERVICE)).signature
        contracts = self.world.settings("").contracts()
        domain = structured_domain("bithedge-quote", contracts.network.chain_id, contracts.principal(REGISTRY))
        key = recover_structured(domain, quote("terms", terms, contracts), signature)
        return address_of(key, AddressVersion.TESTNET_SINGLE_SIG).text


@pytest.fixture
async def rotation(
    world: World, kms: Kms, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rotation]:
    """The old key is a file, the new one lives in KMS and has funds for its fees."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL_KMS": kms.url}.items():
        monkeypatch.setenv(name, value)
    arn = kms.create_key()
    signer = await asyncio.to_thread(KmsSigner, kms_client(kms.url), arn)
    new = signer.address(AddressVersion.TESTNET_SINGLE_SIG).text
    await world.devnet.wait_for(await world.devnet.faucet_stx(new, 10**9))
    settings = world.settings(database_url, backend_signers=(f"file:{world.backend_key}", f"awskms:{arn}"))
    async with running_gateway(settings) as gateway:
        await gateway.caught_up(world)
        yield Rotation(world, gateway, world.backend_address, new)


async def test_a_key_is_replaced_under_load(rotation: Rotation) -> None:
    """Sixty publications while key after key is added, preferred, drained and removed: each intent is confirmed by one
    transaction, the new key's first one is mined after the contract knows it, and the old key takes nothing new."""
    old, new = rotation.old, rotation.new
    assert ((await rotation.key(old)).state, (await rotation.key(new)).state) == (_PREFERRED, _ACTIVE)
    await rotation.work(20)
    assert await rotation.refusal("Prefer", new) == "KEY_NOT_PRINCIPAL"
    await rotation.gateway.intent_where(rotation.intents[0].name, lambda one: one.transactions)
    assert {row.sender for row in await rotation.sent()} == {old}

    working = asyncio.ensure_future(rotation.work(30))
    known = await rotation.admin("add-backend-principal", new)
    await rotation.key_where(new, lambda key: key.is_chain_principal)
    assert (await rotation.step("Prefer", new)).state == _PREFERRED
    assert (await rotation.key(old)).state == _ACTIVE
    assert await rotation.quote_signer() == new
    assert (await rotation.step("Drain", old)).state == _DRAINING
    drained = {row.txid for row in await rotation.sent() if row.sender == old}
    await working
    await rotation.work(10)
    await rotation.confirmed()

    assert await rotation.refusal("Remove", old) == "KEY_STILL_PRINCIPAL"
    await rotation.admin("remove-backend-principal", old)
    await rotation.key_where(old, lambda key: not key.is_chain_principal)
    assert (await rotation.step("Remove", old)).state == _REMOVED

    rows = [row for row in await rotation.sent() if row.mined_stacks_height]
    assert {row.txid for row in rows if row.sender == old} == drained
    assert min(row.mined_stacks_height or 0 for row in rows if row.sender == new) > known
    assert sorted(f"intents/{row.intent_id}" for row in rows) == sorted(intent.name for intent in rotation.intents)


async def test_a_step_is_taken_once_and_on_record(rotation: Rotation) -> None:
    """The same request again answers the same and changes nothing; each change is stored with who made it."""
    old, new = rotation.world.backend_address, rotation.new
    await rotation.admin("add-backend-principal", old)
    await rotation.admin("add-backend-principal", new)
    await rotation.key_where(new, lambda key: key.is_chain_principal)
    first = await rotation.step("Prefer", new, "request-1")
    await rotation.step("Prefer", old)
    assert await rotation.step("Prefer", new, "request-1") == first
    assert (await rotation.key(old)).state == _PREFERRED
    async with rotation.gateway.gateway.database.transaction() as session:
        changes = (await session.exec(select(BackendKeyChange).order_by(col(BackendKeyChange.id)))).all()
    assert [(one.address, one.old_state, one.state) for one in changes if one.principal] == [
        (old, _PREFERRED, _ACTIVE),
        (new, _ACTIVE, _PREFERRED),
        (new, _PREFERRED, _ACTIVE),
        (old, _ACTIVE, _PREFERRED),
    ]
    assert {one.principal for one in changes} == {"", _OPERATOR_PRINCIPAL}


@pytest.mark.parametrize("name", ["", "backendKeys/", "backendKeys/1", "policies/ST000000000000000000002AMW42H"])
async def test_a_name_that_is_none_is_refused(rotation: Rotation, name: str) -> None:
    """INVALID_NAME for what names no key, NOT_FOUND for an account that nobody held, and operators alone may ask."""
    request = keys_pb.DrainBackendKeyRequest(request_id=new_id(), name=name)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await rotation.gateway.keys.DrainBackendKey(request, metadata=_OPERATOR)
    assert reason(error.value) == "INVALID_NAME"
    assert await rotation.refusal("Drain", rotation.world.holder.address) == "UNKNOWN_BACKEND_KEY"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await rotation.gateway.keys.DrainBackendKey(request, metadata=SERVICE)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_no_new_work_before_the_contract_knows_the_key(database_url: str, tmp_path: Path) -> None:
    """An intent waits without a nonce while the contract does not know the key, and goes at the tip that says so."""
    async with scripted_node() as node:
        node.add(1)
        node.principals = set()
        settings = Settings(
            listen="127.0.0.1:0",
            database_url=database_url,
            identity_address="127.0.0.1:1",
            node_urls=(node.url,),
            contract_deployer=_OPERATOR_PRINCIPAL,
            backend_signers=(f"file:{write_key(tmp_path / 'key', 5)}",),
            poll_interval_ms=10,
        )
        async with running_gateway(settings) as gateway:
            await gateway.tip(1)
            signed = price_pb2.PriceRound(
                feed=price_pb2.FEED_BTC_USD, round=1, price_usd_e8=10**12, signature=bytes([1]) * 64 + b"\0"
            )
            signed.observe_time.FromSeconds(1)
            call = pb.ContractCall(publish_price=pb.PublishPriceCall(round=signed))
            intent = await gateway.create_intent(new_id(), call)
            await gateway.gateway.dispatcher.step()
            request = pb.GetIntentRequest(name=intent.name)
            waiting = (await gateway.stub.GetIntent(request, metadata=SERVICE)).intent
            assert (waiting.state, list(waiting.transactions)) == (pb.INTENT_STATE_QUEUED, [])
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await gateway.stub.SignVoucher(_voucher(), metadata=SERVICE)
            assert reason(error.value) == "KEY_NOT_PRINCIPAL"
            node.principals = None
            node.add(2)
            await gateway.intent_where(intent.name, lambda one: one.transactions)


def _voucher() -> pb.SignVoucherRequest:
    terms = pb.VoucherTerms(
        withdrawal=f"withdrawals/{new_id()}", provider_principal=_OPERATOR_PRINCIPAL, expiration_burn_height=9
    )
    terms.amount.token, terms.amount.base_units = money_pb2.TOKEN_STX, 1
    return pb.SignVoucherRequest(terms=terms)
