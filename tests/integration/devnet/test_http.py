"""The HTTP side: pages, errors, start-up."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import psutil
import pytest

from services.chain_gateway.stacks.clarity import ResponseOk, UInt
from tests.devnet import Devnet, DevnetError, running_devnet, running_devnet_url
from tests.integration.devnet.chain import Chain, running_chain

ACCOUNT = "ST2V5QTBKYDY3Y56DRZ04BARR295J444AJKXY1TTZ"


async def test_blocks_by_height_hash_and_page(chain: Chain) -> None:
    """A block is the same by height, hash, index hash and in the list; each names its parent."""
    await chain.devnet.mine_block()
    listed = (await chain.devnet.get("/extended/v2/blocks?limit=2"))["results"]
    names = [listed[0]["height"], listed[0]["hash"], listed[0]["index_block_hash"], "latest"]
    assert [await chain.devnet.get(f"/extended/v2/blocks/{name}") for name in names] == [listed[0]] * 4
    assert listed[0]["parent_block_hash"] == listed[1]["hash"]
    assert listed[0]["parent_index_block_hash"] == listed[1]["index_block_hash"]
    second = (await chain.devnet.get("/extended/v2/blocks?limit=1&offset=1"))["results"]
    assert second == listed[1:]


async def test_transactions_many_at_once_and_their_events(chain: Chain) -> None:
    """`tx/multiple` says what is found; events come whole, in pages, or not at all."""
    contract = await chain.deploy_tiny("many")
    called = await chain.call("many", contract, "add", UInt(1))
    missing = "0x" + "ab" * 32
    path = f"/extended/v1/tx/multiple?tx_id={called['tx_id']}&tx_id={missing}&event_limit=0"
    several = await chain.devnet.get(path)
    assert [several[called["tx_id"]]["found"], several[missing]["found"]] == [True, False]
    assert (several[called["tx_id"]]["result"]["events"], called["event_count"]) == ([], 1)
    events = await chain.devnet.get(f"/extended/v1/tx/events?tx_id={called['tx_id']}&limit=1&offset=0")
    assert events["events"] == called["events"]
    in_block = await chain.devnet.get(f"/extended/v2/blocks/{called['block_hash']}/transactions")
    assert [one["tx_id"] for one in in_block["results"]] == [called["tx_id"]]


async def test_errors_are_answers(chain: Chain) -> None:
    """What is not there is 404, what is malformed 400; neither ends anything."""
    expected = {
        "/extended/v2/blocks/999999": 404,
        "/extended/v2/blocks?limit=31": 400,
        "/extended/v1/tx/0x00": 404,
        "/v2/accounts/nobody": 400,
        "/nowhere": 404,
        "/v2/accounts/%ff": 400,
        "/devnet/advance": 405,
    }
    async with aiohttp.ClientSession() as session:
        for path, status in expected.items():
            async with session.get(chain.devnet.url + path) as response:
                assert (path, response.status) == (path, status)
        bodies = [b"", b"[]", b'{"seconds": -1}', b'{"seconds": "1"}', b"{"]
        for body in bodies:
            async with session.post(chain.devnet.url + "/devnet/advance", data=body) as response:
                assert (body, response.status) == (body, 400)


async def test_read_that_the_vm_refuses(chain: Chain) -> None:
    """call-read of a function that is not there is an answer with a cause."""
    contract = await chain.deploy_tiny("refused-read")
    address, name = contract.split(".")
    path = f"/v2/contracts/call-read/{address}/{name}/nope"
    answer = await chain.devnet.post(path, {"sender": address, "arguments": []})
    assert answer["okay"] is False
    assert "nope" in answer["cause"]


async def test_genesis_accounts_have_what_the_file_says(tmp_path: Path) -> None:
    """Accounts of the genesis file exist from the first block, in both tokens."""
    genesis = tmp_path / "genesis.json"
    genesis.write_text(json.dumps({"accounts": [{"address": ACCOUNT, "ustx": "12345", "sats": 678}]}))
    async with running_chain(tmp_path / "state", genesis=genesis) as chain:
        balances = await chain.devnet.get(f"/extended/v1/address/{ACCOUNT}/balances")
        assert balances["stx"]["balance"] == "12345"
        assert [token["balance"] for token in balances["fungible_tokens"].values()] == ["678"]
        assert await chain.sbtc_balance(ACCOUNT) == ResponseOk(UInt(678))


async def test_start_that_cannot_be_says_why_in_one_line(tmp_path: Path) -> None:
    """A port or a state folder that is in use, and bad settings: one line each, and no devnet."""
    async with running_devnet(tmp_path / "first") as devnet:
        port = int(devnet.url.rsplit(":", 1)[1])
        wrong = [
            ({"state_folder": tmp_path / "second", "port": port}, "devnet: port .* is in use"),
            ({"state_folder": tmp_path / "first"}, "devnet: another devnet uses the folder .*"),
            ({"state_folder": tmp_path / "third", "market_start": "soon"}, "devnet: --market-start soon: .*"),
            ({"state_folder": tmp_path / "third", "genesis": tmp_path}, "devnet: --genesis .*"),
        ]
        for settings, line in wrong:
            with pytest.raises(DevnetError, match=f"^{line}$"):
                async with running_devnet(**settings):  # type: ignore[arg-type]
                    pass


async def mine_blocks(devnet: Devnet, count: int) -> None:
    """Mines Stacks blocks one after the other."""
    for _ in range(count):
        await devnet.mine_block()


async def test_full_disk_ends_in_one_line(tmp_path: Path) -> None:
    """When a record cannot be stored, the request fails, the process says so and ends with an error."""
    async with running_devnet(tmp_path) as devnet:
        psutil.Process(devnet.pid).rlimit(psutil.RLIMIT_FSIZE, (2_000, 2_000))
        with pytest.raises((DevnetError, aiohttp.ClientError)):
            await mine_blocks(devnet, 200)
        assert await devnet.stop() == 1
        assert devnet.settings.error_file.read_text().startswith("devnet: the log cannot be written: ")


def test_devnet_without_asyncio(tmp_path: Path) -> None:
    """The plain context manager gives a URL of a devnet that is ready."""
    with running_devnet_url(tmp_path) as url:
        assert url.startswith("http://127.0.0.1:")
