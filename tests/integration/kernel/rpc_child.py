"""A process of its own that serves a stand-in gateway; run as a module with its address and what it shall do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.process import run_process
from kernel.rpc.caller import Caller, Role
from kernel.rpc.server import Process, serve
from tests.integration.kernel.rpc_service import Gateway, gateway_service


class _Everyone:
    """Takes every token for a service's."""

    async def verify(self, token: str) -> Caller:
        return Caller(token, frozenset({Role.SERVICE}))


async def _tips() -> AsyncIterator[pb.Tip]:
    """One tip at once, and one long enough later that the process has been told to stop in between."""
    yield pb.Tip(stacks_height=1)
    await asyncio.sleep(1.0)
    yield pb.Tip(stacks_height=2)


async def _background() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        print("background ended", flush=True)


async def _failing_background() -> None:
    raise ValueError("the background failed")


async def _close() -> None:
    print("closed", flush=True)


def main(listen: str, behaviour: str) -> None:
    """`behaviour` is `serve` or `fail`."""
    gateway = Gateway(tips=_tips)  # type: ignore[abstract]
    background = (_background, _failing_background) if behaviour == "fail" else (_background,)
    run_process("child", serve(Process(listen, 0, (gateway_service(gateway),), _Everyone(), background, (_close,))))


if __name__ == "__main__":
    main(*sys.argv[1:])
