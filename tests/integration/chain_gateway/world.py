"""A devnet with the real contracts, everybody's keys, and gateways that run in this process over real sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import grpc
from bithedge.chain_gateway.v1 import backend_key_service_pb2_grpc as keys_grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from deploy.devnet.driver import Clock
from deploy.local.contracts import deploy_contracts
from deploy.wallet.driver import Account, Wallet
from kernel.database import migrate
from kernel.ids import new_id
from kernel.rpc.server import start_server
from services.chain_gateway import convert_terms
from services.chain_gateway.config import Settings
from services.chain_gateway.contracts import ORACLE, REGISTRY
from services.chain_gateway.gateway import MIGRATIONS, Gateway, build, open_database
from services.chain_gateway.keys import Keys
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import ClarityValue, TupleValue, serialize
from services.chain_gateway.stacks.messages import sign_structured, structured_domain
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.tables import SCHEMA
from tests.devnet import Devnet
from tests.tokens import TestTokens, service_metadata

SOURCES: Final = Path(__file__).resolve().parents[3] / "contracts" / "contracts"
USD: Final = 100_000_000
SERVICE: Final = service_metadata("workflows")
SCRIPTED_DEPLOYER: Final = "ST000000000000000000002AMW42H"
PATIENCE_SECONDS: Final = 60.0


def write_key(path: Path, number: int) -> Path:
    """A key file of mode 0600 with a fixed key."""
    path.touch(mode=0o600)
    path.write_text((bytes([number]) * 32).hex() + "01")
    os.chmod(path, 0o600)
    return path


def scripted_settings(database_url: str, key: Path, *node_urls: str, **changes: Any) -> Settings:
    """Settings of a gateway on scripted nodes, whose contracts are those of `SCRIPTED_DEPLOYER`."""
    settings = Settings(
        listen="127.0.0.1:0",
        database_url=database_url,
        identity_address="127.0.0.1:1",
        node_urls=node_urls,
        contract_deployer=SCRIPTED_DEPLOYER,
        backend_signers=(f"file:{key}",),
        poll_interval_ms=10,
    )
    return replace(settings, **changes)


@dataclass
class World:
    """One devnet with deployed contracts. `rounds` counts the rounds signed per feed."""

    devnet: Devnet
    wallet: Wallet
    backend_key: Path
    oracle: KeySigner
    deployer: str
    holder: Account
    provider: Account
    rounds: dict[int, int] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def start(cls, devnet: Devnet, folder: Path) -> AsyncIterator[World]:
        """Deploys and funds."""
        backend, oracle = write_key(folder / "backend", 11), write_key(folder / "oracle", 12)
        deployer = await deploy_contracts(devnet.url, "admin", SOURCES, backend, oracle, change_delay_blocks=0)
        async with Wallet(devnet.url) as wallet:
            holder, provider = await wallet.address("holder"), await wallet.address("provider")
            world = cls(devnet, wallet, backend, KeySigner.from_file(oracle), deployer, holder, provider)
            for account in (holder, provider):
                await devnet.wait_for(await devnet.faucet_stx(account.address, 10**13))
                await devnet.wait_for(await devnet.faucet_sbtc(account.address, 10**10))
            yield world

    def settings(self, database_url: str, **changes: Any) -> Settings:
        """Settings of a gateway of this world."""
        settings = Settings(
            listen="127.0.0.1:0",
            database_url=database_url,
            identity_address="127.0.0.1:1",
            node_urls=(self.devnet.url,),
            contract_deployer=self.deployer,
            backend_signers=(f"file:{self.backend_key}",),
            market_clock="devnet",
            poll_interval_ms=20,
        )
        return replace(settings, **changes)

    @property
    def backend_address(self) -> str:
        """The account of the backend key."""
        return KeySigner.from_file(self.backend_key).address(AddressVersion.TESTNET_SINGLE_SIG).text

    def _sign(self, kind: str, contract: str, message: TupleValue) -> bytes:
        contracts = self.settings("").contracts()
        domain = structured_domain(kind, contracts.network.chain_id, contracts.principal(contract))
        return sign_structured(self.oracle, domain, message)

    async def round(self, feed: int, price_usd_e8: int) -> price_pb2.PriceRound:
        """The next round of a feed at the devnet's height and time, signed by the oracle."""
        return self.signed_round(feed, price_usd_e8, await self.devnet.clock())

    def signed_round(self, feed: int, price_usd_e8: int, clock: Clock) -> price_pb2.PriceRound:
        """The next round of a feed at a height and time, signed by the oracle."""
        self.rounds[feed] = self.rounds.get(feed, 0) + 1
        message = price_pb2.PriceRound(
            feed=price_pb2.Feed.ValueType(feed),
            round=self.rounds[feed],
            price_usd_e8=price_usd_e8,
            confidence_usd_e8=1,
            burn_height=clock.burn_height,
        )
        message.observe_time.FromSeconds(int(clock.market_time) + self.rounds[feed])
        message.signature = self._sign("bithedge-price-round", ORACLE, convert_terms.price_round("round", message))
        return message

    def receipt(self, policy: str, height: int, btc: int, stx: int) -> price_pb2.SettlementReceipt:
        """An activation receipt, signed by the oracle."""
        message = price_pb2.SettlementReceipt(btc_price_usd_e8=btc, stx_price_usd_e8=stx, burn_height=height)
        message.activation.policy, message.activation.activation_number = policy, 1
        message.observe_time.FromSeconds(1_600_000_000)
        clarity = convert_terms.activation_receipt("receipt", message)
        message.signature = self._sign("bithedge-activation-receipt", REGISTRY, clarity)
        return message

    def expiry_receipt(self, height: int, btc: int, stx: int) -> price_pb2.SettlementReceipt:
        """The receipt of an expiration height, signed by the oracle."""
        message = price_pb2.SettlementReceipt(btc_price_usd_e8=btc, stx_price_usd_e8=stx)
        message.expiry.expiration_burn_height = height
        message.observe_time.FromSeconds(1_600_000_000)
        clarity = convert_terms.expiry_receipt("receipt", message)
        message.signature = self._sign("bithedge-expiry-receipt", REGISTRY, clarity)
        return message

    def terms(self, height: int, **changes: Any) -> transaction_pb2.QuoteTerms:
        """Fair terms at BTC 50,000 and STX 1 for 0.01 BTC, settled in STX."""
        terms = transaction_pb2.QuoteTerms(
            policy=f"policies/{new_id()}",
            holder_principal=self.holder.address,
            tier=money_pb2.TIER_BALANCED,
            token=money_pb2.TOKEN_STX,
            protected_amount_sats=1_000_000,
            strike_price_usd_e8=48_000 * USD,
            floor_price_usd_e8=36_000 * USD,
            btc_price_usd_e8=50_000 * USD,
            stx_price_usd_e8=USD,
            premium_base_units=5_000_000,
            fee_base_units=25_000,
            auto_settle=True,
            quote_burn_height=height,
            quote_expiration_burn_height=height + 6,
            expiration_burn_height=height + 144,
        )
        terms.MergeFrom(transaction_pb2.QuoteTerms(**changes))
        return terms

    async def admin(self, contract: str, function: str, *args: ClarityValue) -> str:
        """Calls as the admin; the status once mined."""
        hexes = [serialize(arg).hex() for arg in args]
        signed = await self.wallet.call("admin", f"{self.deployer}.{contract}", function, hexes)
        return await self.mined(await self.wallet.broadcast(signed.raw))

    async def mined(self, txid: str) -> str:
        """The status of a transaction once it is mined."""
        return str((await self.devnet.wait_for(txid))["tx_status"])


@dataclass
class RunningGateway:
    """A gateway that serves on a socket of its own."""

    gateway: Gateway
    stub: pb_grpc.ChainGatewayServiceAsyncStub
    keys: keys_grpc.BackendKeyServiceAsyncStub
    tasks: Sequence[asyncio.Task[None]]
    address: str

    async def tip(self, burn_height: int = 0, stacks_height: int = 0) -> pb.Tip:
        """The tip once it has reached these heights."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for answer in self.stub.WatchTip(pb.WatchTipRequest(), metadata=SERVICE, wait_for_ready=True):
                if answer.tip.burn_height >= burn_height and answer.tip.stacks_height >= stacks_height:
                    return answer.tip
        raise AssertionError("the stream ended")

    async def caught_up(self, world: World) -> pb.Tip:
        """The tip once all is ingested that the chain has now.

        The burn height alone does not say so: many Stacks blocks, and nonces of the backend key in them, share one.
        """
        head = await world.devnet.get("/v2/info")
        return await self.tip(int(head["burn_block_height"]), int(head["stacks_tip_height"]))

    async def create_intent(self, key: str, call: pb.ContractCall) -> pb.Intent:
        """Creates an intent."""
        request = pb.CreateIntentRequest(key=key, call=call, purpose="test")
        return (await self.stub.CreateIntent(request, metadata=SERVICE)).intent

    async def intent_where(self, name: str, holds: Any) -> pb.Intent:
        """The intent once `holds(intent)`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for answer in self.stub.WatchIntent(pb.WatchIntentRequest(name=name), metadata=SERVICE):
                if holds(answer.intent):
                    return answer.intent
        raise AssertionError("the intent ended otherwise")

    async def publish(self, world: World, feed: int, price_usd_e8: int) -> pb.Intent:
        """Publishes a round and waits until it is mined."""
        message = await world.round(feed, price_usd_e8)
        call = pb.ContractCall(publish_price=pb.PublishPriceCall(round=message))
        intent = await self.create_intent(f"publish/{feed}/{message.round}/{new_id()}", call)
        return await self.intent_where(intent.name, lambda one: any(tx.stacks_height for tx in one.transactions))

    async def events(self, finality: int, until: Any, cursor: str = "") -> list[pb.WatchEventsResponse]:
        """Responses from a cursor on, up to the first for which `until(all responses)`."""
        request = pb.WatchEventsRequest(cursor=cursor, finality=pb.EventFinality.ValueType(finality))
        found: list[pb.WatchEventsResponse] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for response in self.stub.WatchEvents(request, metadata=SERVICE):
                found.append(response)
                if until(found):
                    return found
        raise AssertionError("the stream ended")


@asynccontextmanager
async def running_gateway(settings: Settings, *, only: Sequence[str] = ()) -> AsyncIterator[RunningGateway]:
    """A migrated, serving gateway with all its background work, or `only` some of it by name."""
    await migrate(settings.database_url, SCHEMA, MIGRATIONS)
    database = open_database(settings)
    keys = Keys.open(settings.backend_signers, settings.contracts().account_version, {}, settings.sponsor_signer)
    async with aiohttp.ClientSession() as http:
        gateway = build(settings, keys, database, http)
        server, port, _ = await start_server(gateway.process(settings, TestTokens()))
        names = ("state", "pulse", "pulse", "nodes", "push", "ingest", "dispatch")
        works = zip(names, gateway.background, strict=True)
        chosen = [work for name, work in works if not only or name in only]
        tasks = [asyncio.ensure_future(_run(work)) for work in chosen]
        try:
            address = f"127.0.0.1:{port}"
            async with grpc.aio.insecure_channel(address) as channel:
                stub: Any = pb_grpc.ChainGatewayServiceStub(channel)
                keys_stub: Any = keys_grpc.BackendKeyServiceStub(channel)
                running = RunningGateway(gateway, stub, keys_stub, tasks, address)
                yield running
        finally:
            await _end(tasks)
            await server.stop(0)
            await database.close()


async def _run(work: Any) -> None:
    await work()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [one for one in results if isinstance(one, Exception)]
    assert not failures, failures
