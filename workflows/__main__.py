"""The worker process."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import signal

import prometheus_client
from temporalio.client import Client

from kernel.log import get_logger
from kernel.process import end_command, run_process
from kernel.rpc.channels import open_channel
from kernel.rpc.tokens import ServiceTokens
from workflows.activities.chain_gateway import ChainGatewayActivities
from workflows.activities.oracle import OracleActivities
from workflows.activities.policy import PolicyActivities
from workflows.activities.pool import PoolActivities
from workflows.activities.reconciliation import ReconciliationActivities
from workflows.config import Settings, load_settings
from workflows.schedules import create_schedules
from workflows.worker import COLLECT_AFTER, build_worker


def _activities(settings: Settings) -> list[object]:
    identity = open_channel(settings.identity_address)
    tokens = ServiceTokens.from_file(identity, "workflows", settings.service_secret_file)
    gateway = open_channel(settings.chain_gateway_address, tokens)
    oracle = open_channel(settings.oracle_address, tokens)
    policy = open_channel(settings.policy_address, tokens)
    pool = open_channel(settings.pool_address, tokens)
    return [
        ChainGatewayActivities(gateway, policy, oracle),
        OracleActivities(oracle, policy),
        PolicyActivities(policy),
        PoolActivities(pool, policy),
        ReconciliationActivities(pool, policy, gateway),
    ]


def _quiet_expected_retries() -> None:
    """A step that asks again until something is there is no news; Temporal shows every attempt."""
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)


async def main() -> None:
    """Works until SIGTERM or SIGINT, then leaves the activities under way to the next worker."""
    settings = load_settings()
    _quiet_expected_retries()
    client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
    await create_schedules(client, dt.timedelta(seconds=settings.reconciliation_interval_seconds))
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with build_worker(client, *_activities(settings)):
        if settings.metrics_port:
            prometheus_client.start_http_server(settings.metrics_port, addr="127.0.0.1")
        get_logger().info("working")
        await stop.wait()
    get_logger().info("stopped")


if __name__ == "__main__":
    run_process("workflows", main(), COLLECT_AFTER)
    end_command(0)
