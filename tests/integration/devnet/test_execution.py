"""What becomes of transactions in blocks: success, aborts, fees, post-conditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.devnet.faults import FaultDriver
from services.chain_gateway.stacks.clarity import NoneValue, ResponseOk, UInt, parse_principal
from tests.integration.devnet.chain import SBTC, Chain, running_chain
from tests.wallet import TransactionRejected


async def test_call_succeeds_and_emits_its_event(chain: Chain) -> None:
    """A deployed contract is called by its sender directly: result, event and state are those of the VM."""
    contract = await chain.deploy_tiny("success")
    called = await chain.call("success", contract, "add", UInt(5))
    assert called["tx_status"] == "success"
    assert called["tx_result"] == {"hex": "0x070100000000000000000000000000000005", "repr": "(ok u5)"}
    log = called["events"][0]["contract_log"]
    address = contract.split(".")[0]
    expected = f'(tuple (amount u5) (caller {address}) (sender {address}) (topic "added"))'
    assert (log["contract_id"], log["topic"], log["value"]["repr"]) == (contract, "print", expected)
    assert await chain.total(contract) == 5


async def test_err_rolls_back_and_costs_fee_and_nonce(chain: Chain) -> None:
    """An (err ...) leaves no state and no events, but its fee is paid and its nonce used."""
    contract = await chain.deploy_tiny("abort")
    address = contract.split(".")[0]
    before, nonce = await chain.balance(address), await chain.nonce(address)
    aborted = await chain.call("abort", contract, "add", UInt(100), fee=5000)
    assert (aborted["tx_status"], aborted["tx_result"]["repr"]) == ("abort_by_response", "(err u7)")
    assert (aborted["event_count"], await chain.total(contract)) == (0, 0)
    assert (await chain.balance(address), await chain.nonce(address)) == (before - 5000, nonce + 1)


COSTS = ("read_count", "read_length", "runtime", "write_count", "write_length")


async def test_costs_of_deployments_and_calls(tmp_path: Path) -> None:
    """On demand the VM's costs stand where the API has them; also after the VM was started again."""
    async with running_chain(tmp_path, costs=True) as chain:
        contract = await chain.deploy_tiny("costs")
        deployed = await chain.devnet.get("/extended/v2/blocks/latest/transactions")
        called = await chain.call("costs", contract, "add", UInt(5))
        failed = await chain.call("costs", contract, "divide", UInt(0))
        undone = await chain.call("costs", contract, "pay", UInt(5))
        for transaction in (deployed["results"][0], called, undone):
            assert all(isinstance(transaction[f"execution_cost_{name}"], int) for name in COSTS)
            assert transaction["execution_cost_runtime"] > 0
        assert (called["execution_cost_read_count"], called["execution_cost_write_count"]) > (0, 0)
        statuses = [one["tx_status"] for one in (called, failed, undone)]
        assert statuses == ["success", "abort_by_response", "abort_by_post_condition"]
        await FaultDriver(chain.devnet).crash_vm()
        await FaultDriver(chain.devnet).fork(1)
        assert (await chain.call("costs", contract, "add", UInt(1)))["tx_result"]["repr"] == "(ok u6)"


async def test_costs_are_not_told_unless_asked(chain: Chain) -> None:
    """Without the switch the fields are missing."""
    contract = await chain.deploy_tiny("no costs")
    called = await chain.call("no costs", contract, "add", UInt(5))
    assert not any(name.startswith("execution_cost") for name in called)


async def test_text_that_is_not_ascii_is_refused(chain: Chain) -> None:
    """A string that the VM cannot hold never reaches it."""
    address = await chain.fund("ascii")
    await chain.send(await chain.wallet.deploy("ascii", "text", "(define-public (f (s (string-ascii 5))) (ok s))"))
    good = await chain.wallet.call("ascii", f"{address}.text", "f", ["0d00000002410a"])
    bad = await chain.wallet.call("ascii", f"{address}.text", "f", ["0d000000024101"])
    with pytest.raises(TransactionRejected, match="BadFunctionArgument"):
        await chain.wallet.broadcast(bad.raw)
    assert (await chain.send(good))["tx_result"]["hex"] == "0x070d00000002410a"


async def test_runtime_error_aborts(chain: Chain) -> None:
    """A division by zero aborts with (err none) and rolls back."""
    contract = await chain.deploy_tiny("runtime")
    aborted = await chain.call("runtime", contract, "divide", UInt(0))
    assert (aborted["tx_status"], aborted["tx_result"]["repr"]) == ("abort_by_response", "(err none)")
    assert "DivisionByZero" in aborted["vm_error"]
    assert await chain.total(contract) == 0


async def test_post_condition_violation_rolls_back_and_costs_the_fee(chain: Chain) -> None:
    """In Deny mode an unnamed transfer aborts; state is rolled back, fee and nonce are not; others' state stays."""
    contract = await chain.deploy_tiny("deny")
    address = contract.split(".")[0]
    assert (await chain.call("deny", contract, "add", UInt(3)))["tx_status"] == "success"
    before, nonce = await chain.balance(address), await chain.nonce(address)
    aborted = await chain.call("deny", contract, "pay", UInt(1000), fee=4000)
    assert (aborted["tx_status"], aborted["event_count"]) == ("abort_by_post_condition", 0)
    assert (await chain.balance(address), await chain.nonce(address)) == (before - 4000, nonce + 1)
    assert (await chain.total(contract), await chain.balance(contract)) == (3, 0)
    assert (await chain.call("deny", contract, "add", UInt(4)))["tx_result"]["repr"] == "(ok u7)"


async def test_post_condition_that_holds_lets_the_transfer_pass(chain: Chain) -> None:
    """A named amount that is kept passes; one that is exceeded aborts."""
    contract = await chain.deploy_tiny("named")
    address = contract.split(".")[0]
    limit = {"type": "stx-postcondition", "address": address, "condition": "lte", "amount": "1000"}
    paid = await chain.call("named", contract, "pay", UInt(1000), post_conditions=[limit])
    exceeded = await chain.call("named", contract, "pay", UInt(1001), post_conditions=[limit])
    assert [paid["tx_status"], exceeded["tx_status"]] == ["success", "abort_by_post_condition"]
    assert (await chain.balance(contract), await chain.total(contract)) == (1000, 1000)
    assert paid["post_conditions"][0]["condition_code"] == "sent_less_than_or_equal_to"


async def test_violation_between_others_in_one_block(chain: Chain) -> None:
    """Of three transactions in one block the violating second alone is undone."""
    contract = await chain.deploy_tiny("block")
    first = await chain.nonce(contract.split(".")[0])
    calls = [("add", 1), ("pay", 10), ("add", 2)]
    txids = []
    for index, (function, amount) in enumerate(calls):
        args = [f"01{amount:032x}"]
        signed = await chain.wallet.call("block", contract, function, args, nonce=first + index)
        txids.append(await chain.wallet.broadcast(signed.raw))
    mined = [await chain.mined(txid) for txid in txids]
    assert [one["tx_status"] for one in mined] == ["success", "abort_by_post_condition", "success"]
    assert len({one["block_height"] for one in mined}) == 1
    assert await chain.total(contract) == 3


async def test_sbtc_moves_by_the_real_token(chain: Chain) -> None:
    """The faucet's sBTC arrives, is sent on, and node, API and contract agree on who has it."""
    sender, receiver = await chain.fund("sbtc-sender"), await chain.fund("sbtc-receiver")
    await chain.mined(await chain.devnet.faucet_sbtc(sender, 700))
    condition = {"type": "ft-postcondition", "address": sender, "condition": "eq", "amount": "300"}
    args = [UInt(300), parse_principal(sender), parse_principal(receiver), NoneValue()]
    named = {**condition, "asset": f"{SBTC}::sbtc-token"}
    moved = await chain.call("sbtc-sender", SBTC, "transfer", *args, post_conditions=[named])
    assert (moved["tx_status"], moved["events"][0]["asset"]["amount"]) == ("success", "300")
    assert await chain.sbtc_balance(sender) == ResponseOk(UInt(400))
    balances = await chain.devnet.get(f"/extended/v1/address/{receiver}/balances")
    assert balances["fungible_tokens"][f"{SBTC}::sbtc-token"]["balance"] == "300"


async def test_deployment_that_the_analysis_refuses_aborts(chain: Chain) -> None:
    """Bad source is mined as aborted, costs its fee, and leaves no contract."""
    address = await chain.fund("bad-source")
    aborted = await chain.send(await chain.wallet.deploy("bad-source", "bad", "(define-public (f) (ok (nope)))"))
    assert aborted["tx_status"] == "abort_by_response"
    assert await chain.nonce(address) == 1
    good = await chain.send(await chain.wallet.deploy("bad-source", "bad", "(define-public (f) (ok u1))"))
    assert good["tx_status"] == "success"
