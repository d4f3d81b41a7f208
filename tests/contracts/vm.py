"""The real Clarity VM for the contract tests: a subprocess of `deploy/devnet/vm.mjs`, one JSON line per operation."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.devnet.node_program import node_environment, node_executable
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    ResponseErr,
    ResponseOk,
    StringAscii,
    TupleValue,
    deserialize,
    from_hex,
    serialize,
)

SBTC_CONTRACT = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
_VM_FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "devnet"


class VMError(Exception):
    """The VM refused or gave up: a runtime error, failed analysis, a missing contract. Nothing was changed."""


@dataclass(frozen=True)
class Event:
    """One event: `kind` as the VM names it (print_event, stx_transfer_event, ft_transfer_event, ...); `value` is what
    a print event printed."""

    kind: str
    data: Mapping[str, Any]
    value: ClarityValue | None


@dataclass(frozen=True)
class Heights:
    """The tip: burn height, Stacks height, and the Stacks block's time in unix seconds."""

    burn: int
    stacks: int
    block_time: int


@dataclass(frozen=True)
class Balance:
    """What a principal holds: uSTX and sats of sBTC."""

    ustx: int
    sats: int


@dataclass(frozen=True)
class CallResult:
    """A call's result: `value` is the response's inner value (or the value itself of a function without response);
    `ok` is false for an (err ...); `costs` counts read_count, read_length, runtime, write_count, write_length."""

    ok: bool
    value: ClarityValue
    events: Sequence[Event]
    costs: Mapping[str, int]

    def printed(self, topic: str) -> list[TupleValue]:
        """The printed tuples of a topic, in order."""
        found = StringAscii(topic)
        values = [event.value for event in self.events if isinstance(event.value, TupleValue)]
        return [value for value in values if value.fields.get("topic") == found]

    def expect(self) -> ClarityValue:
        """The value of an (ok ...); raises AssertionError for an (err ...)."""
        assert self.ok, f"the call answered (err {self.value})"
        return self.value


def _result(answer: Mapping[str, Any]) -> CallResult:
    value = deserialize(bytes.fromhex(answer["result"]))
    inner = value.value if isinstance(value, ResponseOk | ResponseErr) else value
    return CallResult(answer["ok"], inner, [_event(event) for event in answer["events"]], answer["costs"] or {})


def _event(event: Mapping[str, Any]) -> Event:
    raw = event["data"].get("raw_value")
    return Event(event["type"], event["data"], None if raw is None else from_hex(raw))


class VM:
    """One chain. Contracts may be named without the deployer's address once `deploy` has seen them.

    Use as a context manager; `reset` starts a new chain in the same process (0.5 s).
    """

    def __init__(self, genesis_time: int | None = None) -> None:
        command = [node_executable(), str(_VM_FOLDER / "vm.mjs")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=node_environment()
        )
        self._contracts: dict[str, str] = {}
        self._sequence = 0
        self._burn_height = 0
        self.reset(genesis_time)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def reset(self, genesis_time: int | None = None) -> Heights:
        """A new chain: epoch 3.3 (Clarity 4), burn height 1; `genesis_time` in unix seconds."""
        self._contracts = {"sbtc-token": SBTC_CONTRACT}
        return self._noted(self._ask("init", **({} if genesis_time is None else {"time": genesis_time})))

    def checkpoint(self) -> None:
        """Remembers the whole state; an earlier one is forgotten. Not together with `reset`."""
        self._ask("checkpoint")

    def restore(self) -> Heights:
        """Goes back to the state of the last checkpoint, as often as needed."""
        return self._noted(self._ask("restore"))

    def contract(self, name: str) -> str:
        """The full name of a contract given short or in full."""
        return name if "." in name else self._contracts[name]

    def mint_stx(self, principal: str, ustx: int) -> None:
        """Gives uSTX out of nothing."""
        self._ask("mint_stx", principal=principal, amount=str(ustx))

    def mint_sbtc(self, principal: str, sats: int) -> None:
        """Gives sBTC out of nothing, in the session's real sBTC token."""
        self._ask("mint_sbtc", principal=principal, amount=str(sats))

    def deploy(self, sender: str, name: str, code: str) -> CallResult:
        """Deploys Clarity 4 source in a Stacks block of its own; raises VMError when the analysis refuses it."""
        result = _result(self._ask("deploy", sender=sender, name=name, code=code))
        self._contracts[name] = f"{sender}.{name}"
        return result

    def call(self, sender: str, contract: str, function: str, args: Sequence[ClarityValue] = ()) -> CallResult:
        """Calls a public function in a Stacks block of its own; raises VMError for a runtime error."""
        return _result(self._ask("call", **self._call(sender, contract, function, args)))

    def read(self, sender: str, contract: str, function: str, args: Sequence[ClarityValue] = ()) -> CallResult:
        """Calls a read-only function at the tip."""
        return _result(self._ask("read", **self._call(sender, contract, function, args)))

    def transfer(self, sender: str, recipient: str, ustx: int) -> CallResult:
        """Transfers uSTX in a Stacks block of its own."""
        return _result(self._ask("transfer", sender=sender, recipient=recipient, amount=str(ustx)))

    def balance(self, principal: str) -> Balance:
        """What a principal, or a contract given by its short name's full form, holds."""
        return self.balances([principal])[principal]

    def balances(self, principals: Sequence[str]) -> dict[str, Balance]:
        """What each of them holds."""
        found = self._ask("balances", principals=list(principals))
        return {who: Balance(int(one["ustx"]), int(one["sats"])) for who, one in found.items()}

    def mine_burn(self, count: int = 1) -> Heights:
        """Mines burn blocks, each with one empty Stacks block."""
        return self._noted(self._ask("mine_burn", count=count))

    def mine_stacks(self, count: int = 1) -> Heights:
        """Mines empty Stacks blocks."""
        return _heights(self._ask("mine_stacks", count=count))

    @property
    def burn_height(self) -> int:
        """The tip's burn height, which only `mine_burn`, `reset` and `restore` change: known without asking."""
        return self._burn_height

    def heights(self) -> Heights:
        """The tip."""
        return _heights(self._ask("heights"))

    def interface(self, contract: str) -> Mapping[str, Any]:
        """What the VM's analysis found in a contract: its functions with their types, variables, maps, tokens."""
        found: Mapping[str, Any] = self._ask("interface", contract=self.contract(contract))
        return found

    def _noted(self, answer: Mapping[str, Any]) -> Heights:
        heights = _heights(answer)
        self._burn_height = heights.burn
        return heights

    def _call(self, sender: str, contract: str, function: str, args: Sequence[ClarityValue]) -> dict[str, object]:
        encoded = [serialize(value).hex() for value in args]
        return {"sender": sender, "contract": self.contract(contract), "function": function, "args": encoded}

    def _ask(self, op: str, **fields: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._sequence += 1
        self._process.stdin.write(json.dumps({"id": self._sequence, "op": op, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if line == "":
            raise VMError(f"the VM ended with code {self._process.wait(timeout=10)}")
        answer = json.loads(line)
        if "error" in answer:
            raise VMError(answer["error"])
        return answer["ok"]


def _heights(answer: Mapping[str, Any]) -> Heights:
    return Heights(answer["burn_height"], answer["stacks_height"], answer["block_time"])
