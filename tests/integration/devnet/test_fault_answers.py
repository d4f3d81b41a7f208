"""Requests that the node answers wrongly, slowly or not at all; nonces that are lies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from deploy.devnet.faults import FaultDriver, Faults, HttpFault, NonceLie
from tests.devnet import DevnetError
from tests.integration.devnet.chain import Chain
from tests.wallet import WalletError

NOBODY = "ST000000000000000000002AMW42H"


@pytest_asyncio.fixture(loop_scope="session")
async def faults(chain: Chain) -> AsyncIterator[FaultDriver]:
    """The faults of the shared devnet, off again afterwards."""
    driver = FaultDriver(chain.devnet)
    yield driver
    await driver.set(Faults())


@pytest_asyncio.fixture(loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose connections are used once, so that it sends nothing again by itself."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        yield client


async def test_too_many_requests_says_when_to_come_again(
    chain: Chain, faults: FaultDriver, session: aiohttp.ClientSession
) -> None:
    """A 429 has Retry-After; other paths, and the fault paths themselves, are not met."""
    await faults.set(Faults(http=(HttpFault("/v2/accounts", 1, "429", retry_after=7),)))
    async with session.get(f"{chain.devnet.url}/v2/accounts/{NOBODY}") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert (await chain.devnet.get("/v2/info"))["network_id"] == 0x80000000
    assert (await faults.state()).injected == {"http.429": 1}


async def test_internal_error_and_hangup_handle_nothing(chain: Chain, faults: FaultDriver) -> None:
    """A broadcast that is answered 500, or not at all, was not taken."""
    address = await chain.fund("unhandled")
    signed = await chain.wallet.transfer("unhandled", NOBODY, 1, nonce=0, fee=1_000)
    for answer in ("500", "hangup"):
        await faults.set(Faults(http=(HttpFault("/v2/transactions", 1, answer),)))
        with pytest.raises(WalletError):
            await chain.wallet.broadcast(signed.raw)
    await faults.clear()
    await chain.devnet.mine_block()
    assert await chain.nonce(address) == 0


async def test_garbage_is_no_json(chain: Chain, faults: FaultDriver, session: aiohttp.ClientSession) -> None:
    """A 200 that says it is JSON and is not."""
    await faults.set(Faults(http=(HttpFault("/", 1, "garbage"),)))
    async with session.get(f"{chain.devnet.url}/extended/v2/blocks") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        with pytest.raises(json.JSONDecodeError):
            json.loads(await response.text())


async def test_slow_answer_is_right_in_the_end(
    chain: Chain, faults: FaultDriver, session: aiohttp.ClientSession
) -> None:
    """A client that gives up gets nothing, one that waits the true answer."""
    await faults.set(Faults(http=(HttpFault("/v2/info", 1, "slow", milliseconds=600_000),)))
    with pytest.raises(TimeoutError):
        async with session.get(f"{chain.devnet.url}/v2/info", timeout=aiohttp.ClientTimeout(0.2)):
            pass
    await faults.set(Faults(http=(HttpFault("/v2/info", 1, "slow", milliseconds=20),)))
    begin = asyncio.get_running_loop().time()
    assert (await chain.devnet.get("/v2/info"))["is_fully_synced"] is True
    assert asyncio.get_running_loop().time() - begin >= 0.02


async def test_hangup_resets_the_connection(chain: Chain, faults: FaultDriver, session: aiohttp.ClientSession) -> None:
    """No answer comes at all."""
    await faults.set(Faults(http=(HttpFault("/v2/info", 1, "hangup"),)))
    with pytest.raises(aiohttp.ClientConnectionError):
        async with session.get(f"{chain.devnet.url}/v2/info"):
            pass


async def test_first_rule_that_is_drawn_answers(chain: Chain, faults: FaultDriver) -> None:
    """A rule of probability 0 or another path lets the next one answer."""
    never = HttpFault("/v2/info", 0, "hangup")
    other = HttpFault("/v2/pox", 1, "hangup")
    last = HttpFault("/v2", 1, "500")
    await faults.set(Faults(http=(never, other, last)))
    with pytest.raises(DevnetError, match="500"):
        await chain.devnet.get("/v2/info")
    state = await faults.state()
    assert (state.drawn, state.injected) == ({"http": 1}, {"http.500": 1})


async def test_nonces_are_told_wrong_but_never_below_zero(chain: Chain, faults: FaultDriver) -> None:
    """Node and API lie by the offset; what is checked is the truth."""
    address = await chain.fund("lied")
    await chain.send(await chain.wallet.transfer("lied", NOBODY, 1, nonce=0))
    for offset, told in ((3, 4), (-5, 0)):
        await faults.set(Faults(nonces=NonceLie(1, offset)))
        assert await chain.nonce(address) == told
        nonces = await chain.devnet.get(f"/extended/v1/address/{address}/nonces")
        assert nonces["possible_next_nonce"] == told
        assert nonces["last_executed_tx_nonce"] == (told - 1 if told > 0 else None)
        assert (await faults.clear()).injected == {"nonces": 2}
    assert (await chain.send(await chain.wallet.transfer("lied", NOBODY, 1, nonce=1)))["tx_status"] == "success"


RULE = {"path": "/v2", "probability": 1, "answer": "500"}
BAD: dict[str, dict[str, Any]] = {
    "http must be a list": {"http": RULE},
    r"http\[1\] must be an object": {"http": [RULE, 5]},
    r"http\[0\].path must be text that starts with /": {"http": [{**RULE, "path": "v2"}]},
    r"http\[0\].path must be none of /devnet/": {"http": [{**RULE, "path": "/devnet/clock"}]},
    r"http\[0\].probability must be a number from 0 to 1": {"http": [{**RULE, "probability": "1"}]},
    r"http\[0\].answer must be one of 429, 500, garbage, slow, hangup": {"http": [{**RULE, "answer": "404"}]},
    r"http\[0\].milliseconds must be a whole number": {"http": [{**RULE, "answer": "slow"}]},
    r"http\[0\].retry_after must be a whole number": {"http": [{**RULE, "retry_after": 0.5}]},
    r"http\[0\] has no code": {"http": [{**RULE, "code": 1}]},
    "nonces.offset must be a whole number": {"nonces": {"probability": 1, "offset": 1.5}},
}


@pytest.mark.parametrize("message", BAD)
async def test_bad_rules_are_refused_to_the_field(chain: Chain, faults: FaultDriver, message: str) -> None:
    """What is misspelt or out of bounds is a 400 that names it, and what was set before stays."""
    before = await faults.state()
    with pytest.raises(DevnetError, match=f"400 .*{message}"):
        await chain.devnet.request("PUT", "/devnet/faults", BAD[message])
    assert await faults.state() == before
