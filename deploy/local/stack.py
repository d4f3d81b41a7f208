"""The whole product on one machine: Postgres, Temporal, the devnet, five services and the worker, each a process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from deploy.devnet.driver import DevnetClient, DevnetError, DevnetSettings
from deploy.devnet.node_program import node_environment
from deploy.local.contracts import deploy_contracts
from deploy.local.keys import LocalKeys, make_keys
from deploy.local.layout import REPOSITORY, SERVICES, Layout
from deploy.local.postgres import EmbeddedPostgres, start_postgres
from deploy.local.processes import ProcessFolder, ProcessSpec, StackError, check_disk, wait_for_port
from deploy.wallet.driver import Wallet
from kernel.errors import Unavailable
from kernel.rpc.channels import wait_until_serving
from workflows.contract import SearchAttribute

_START_SECONDS: Final = 60.0
_NEEDED_MEGABYTES: Final = 300
_SERVICE_NAMES: Final = {
    "identity": "bithedge.identity.v1.IdentityService",
    "chain_gateway": "bithedge.chain_gateway.v1.ChainGatewayService",
    "oracle": "bithedge.oracle.v1.OracleService",
    "policy": "bithedge.policy.v1.PolicyService",
    "pool": "bithedge.pool.v1.PoolService",
}
_WORKER: Final = "workflows"
_EXCHANGES: Final = "exchanges"
# Between two rounds of live prices, market seconds: a person who starts the stack sees one soon.
_LIVE_ROUND_SECONDS: Final = 10
PROCESSES: Final = ("devnet", "temporal", *SERVICES, _WORKER)
Say = Callable[[str], None]


class Stack:
    """One local stack. `start` starts what does not run; what runs is left alone."""

    def __init__(self, layout: Layout, say: Say = print) -> None:
        self.layout = layout
        self.processes = ProcessFolder(layout.state / "processes", REPOSITORY)
        self._say = say
        self.keys: LocalKeys = make_keys(layout.state / "keys")
        self._postgres: EmbeddedPostgres | None = None
        # Deployer and operator, once they are there.
        self._principals: tuple[str, str] | None = None

    @property
    def database_url(self) -> str:
        """The services' database; the stack has been started."""
        assert self._postgres is not None
        return self._postgres.url

    async def start(self) -> None:
        """Returns when every process serves. StackError with one line otherwise."""
        self._start_infrastructure()
        await asyncio.gather(self._wait_for_temporal(), self._wait_for_devnet())
        if self.layout.live_prices:
            self._start(self._exchanges_spec())
            await asyncio.to_thread(self._wait_for_port, _EXCHANGES, self.layout.ports.exchanges)
        if self._principals is None:
            self._principals = await self.principals()
        for spec in self._service_specs(*self._principals):
            self._start(spec)
        await asyncio.gather(*(self._wait_for_service(name) for name in SERVICES))
        self._start(self._worker_spec())
        await self._wait_for_worker()
        self._say("every process serves")

    async def environment_of(self, service: str) -> Mapping[str, str]:
        """The settings of a service, for an operators' command beside it. Everything but that service runs."""
        self._postgres = self._postgres or start_postgres(self.layout.state / "postgres")
        if self._principals is None:
            self._principals = await self._deploy(), await self._operator()
        return next(spec.environment for spec in self._service_specs(*self._principals) if spec.name == service)

    def stop(self) -> None:
        """Stops everything; the state stays."""
        for group in ((_WORKER,), tuple(reversed(SERVICES)), ("temporal", _EXCHANGES, "devnet")):
            self.processes.stop(group)
        postgres = self._postgres
        if postgres is None and (self.layout.state / "postgres" / "postmaster.pid").exists():
            postgres = start_postgres(self.layout.state / "postgres")
        if postgres is not None:
            postgres.stop()

    def _start(self, spec: ProcessSpec) -> None:
        if self.processes.start(spec):
            self._say(f"started {spec.name}")

    def _start_infrastructure(self) -> None:
        check_disk(self.layout.state, _NEEDED_MEGABYTES)
        self._postgres = start_postgres(self.layout.state / "postgres")
        for spec in (self.chain_spec(), self._temporal_spec()):
            self._start(spec)

    def chain_spec(self) -> ProcessSpec:
        """The process of the chain."""
        settings = DevnetSettings(
            self.layout.state / "devnet",
            port=self.layout.ports.devnet,
            market_start=self.layout.market_start,
            speed=self.layout.market_speed,
            until_stdin_ends=False,
        )
        settings.state_folder.mkdir(parents=True, exist_ok=True)
        return ProcessSpec("devnet", settings.command, node_environment(), (self.layout.ports.devnet,))

    def _exchanges_spec(self) -> ProcessSpec:
        port = self.layout.ports.exchanges
        command = [sys.executable, "-m", "deploy.exchanges", "--port", str(port), "--devnet", self.layout.node_url]
        command += ["--write-sources", str(self._sources_file)]
        return ProcessSpec(_EXCHANGES, command, os.environ, (port,))

    @property
    def _sources_file(self) -> Path:
        return self.layout.state / "live_sources.toml"

    def _price_settings(self) -> Mapping[str, str]:
        if not self.layout.live_prices:
            return {"PRICE_SOURCE": "replay", "PRICE_DATA": str(REPOSITORY / "data")}
        seconds = str(_LIVE_ROUND_SECONDS)
        return {"PRICE_SOURCE": "live", "LIVE_SOURCES_FILE": str(self._sources_file), "OBSERVATION_SECONDS": seconds}

    def _temporal_spec(self) -> ProcessSpec:
        ports = self.layout.ports
        command = [_beside_python("temporal"), "server", "start-dev", "--log-level", "error"]
        command += ["--port", str(ports.temporal), "--ui-port", str(ports.temporal_ui), "--ui-disable-news-fetch"]
        command += ["--db-filename", str(self.layout.state / "temporal.db"), "--sqlite-pragma", "synchronous=0"]
        for attribute in SearchAttribute:
            command += ["--search-attribute", f"{attribute}=Keyword"]
        return ProcessSpec("temporal", command, os.environ, (ports.temporal, ports.temporal_ui))

    async def _wait_for_temporal(self) -> None:
        await asyncio.to_thread(self._wait_for_port, "temporal", self.layout.ports.temporal)
        await self.temporal()

    async def temporal(self) -> Client:
        """A client of the stack's Temporal, as soon as it answers."""
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    return await Client.connect(self.layout.temporal_address)
                except (RPCError, RuntimeError):
                    await asyncio.sleep(0.05)

    async def _wait_for_devnet(self) -> None:
        await asyncio.to_thread(self._wait_for_port, "devnet", self.layout.ports.devnet)
        async with asyncio.timeout(_START_SECONDS), DevnetClient(self.layout.node_url) as devnet:
            while True:
                try:
                    await devnet.clock()
                    return
                except DevnetError:
                    self.processes.check_alive(["devnet"])
                    await asyncio.sleep(0.05)

    def _wait_for_port(self, name: str, port: int) -> None:
        if not wait_for_port(port, _START_SECONDS, lambda: self.processes.running(name) is not None):
            self.processes.check_alive([name])
            raise StackError(f"{name} does not listen on port {port} after {_START_SECONDS:.0f} s")

    async def principals(self) -> tuple[str, str]:
        """Deployer and operator; what is not deployed yet is deployed."""
        return await self._deploy(), await self._operator()

    async def _deploy(self) -> str:
        return await deploy_contracts(
            self.layout.node_url,
            self.keys.seed("admin"),
            REPOSITORY / "contracts" / "contracts",
            self.keys.backend_key,
            self.keys.oracle_key,
        )

    async def _operator(self) -> str:
        async with Wallet(self.layout.node_url) as wallet:
            return (await wallet.address(self.keys.seed("operator"))).address

    def _service_specs(self, deployer: str, operator: str) -> list[ProcessSpec]:
        particular: Mapping[str, Mapping[str, str]] = {
            "identity": {
                "JWT_KEY_FILE": str(self.keys.token_key),
                "SERVICE_SECRETS_FOLDER": str(self.keys.secrets_folder),
                "OPERATOR_PRINCIPALS": operator,
            },
            "chain_gateway": {
                "NODE_URLS": self.layout.node_url,
                "BACKEND_SIGNERS": f"file:{self.keys.backend_key}",
                "MARKET_CLOCK": "devnet",
            },
            "oracle": {"ORACLE_KEY_FILE": str(self.keys.oracle_key), **self._price_settings()},
        }
        common = {**self._addresses(), "CONTRACT_DEPLOYER": deployer, "NETWORK": "testnet", "CHAIN_ID": "2147483648"}
        return [self._python(name, {**common, **particular.get(name, {})}) for name in SERVICES]

    def _worker_spec(self) -> ProcessSpec:
        return self._python(_WORKER, self._addresses())

    def _addresses(self) -> dict[str, str]:
        addresses = {f"{name.upper()}_ADDRESS": self.layout.address(name) for name in SERVICES}
        return {**addresses, "TEMPORAL_ADDRESS": self.layout.temporal_address, "DATABASE_URL": self.database_url}

    def _python(self, name: str, settings: Mapping[str, str]) -> ProcessSpec:
        ports = [self.layout.ports.metrics[name]]
        environment = {**os.environ, **settings, "METRICS_PORT": str(ports[0])}
        if name in self.layout.ports.services:
            ports.append(self.layout.ports.services[name])
            environment["LISTEN"] = self.layout.address(name)
        if name != "identity":
            environment["SERVICE_SECRET_FILE"] = str(self.keys.secret(name))
        module = name if name == _WORKER else f"services.{name}"
        return ProcessSpec(name, [sys.executable, "-m", module], environment, ports)

    async def _wait_for_service(self, name: str) -> None:
        watcher = asyncio.ensure_future(
            wait_until_serving(self.layout.address(name), _SERVICE_NAMES[name], _START_SECONDS)
        )
        while not watcher.done():
            await asyncio.wait([watcher], timeout=0.5)
            self.processes.check_alive([name])
        try:
            watcher.result()
        except Unavailable as error:
            raise StackError(error.message) from error

    async def _wait_for_worker(self) -> None:
        port = self.layout.ports.metrics[_WORKER]
        await asyncio.to_thread(self._wait_for_port, _WORKER, port)


def _beside_python(program: str) -> str:
    return str(Path(sys.executable).with_name(program))
