"""Switches on the devnet's faults: what happens to broadcasts and requests, burn blocks, and the VM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from deploy.devnet.driver import DevnetClient

Answer = Literal["429", "500", "garbage", "slow", "hangup"]
Fate = Literal["return", "lose", "shuffle"]

REJECTION_REASONS: Final = (
    "Serialization",
    "Deserialization",
    "SignatureValidation",
    "FeeTooLow",
    "BadNonce",
    "NotEnoughFunds",
    "NoSuchContract",
    "NoSuchPublicFunction",
    "BadFunctionArgument",
    "ContractAlreadyExists",
    "PoisonMicroblocksDoNotConflict",
    "PoisonMicroblockHasUnknownPubKeyHash",
    "PoisonMicroblockIsInvalid",
    "BadAddressVersionByte",
    "NoCoinbaseViaMempool",
    "NoTenureChangeViaMempool",
    "ServerFailureNoSuchChainTip",
    "ConflictingNonceInMempool",
    "TooMuchChaining",
    "BadTransactionVersion",
    "TransferRecipientCannotEqualSender",
    "TransferAmountMustBePositive",
    "ServerFailureDatabase",
    "EstimatorError",
    "TemporarilyBlacklisted",
    "ServerFailureOther",
)
"""Every reason that a node has for refusing a transaction (stacks-core, `MemPoolRejection`)."""


@dataclass(frozen=True)
class Delay:
    """Answered at once, in the mempool only so many milliseconds later, and checked only then."""

    probability: float
    milliseconds: int


@dataclass(frozen=True)
class Reject:
    """Refused for one of these reasons of `REJECTION_REASONS`, though nothing is wrong."""

    probability: float
    reason: tuple[str, ...]


@dataclass(frozen=True)
class BroadcastFaults:
    """What a broadcast may meet, at most one of them: probabilities, with a sum of at most 1.

    `lose_request`: the connection is reset and nothing was taken; `lose_answer`: it was taken, the connection is reset;
    `forget`: answered with the txid and lost; `duplicate`: handled twice; `reorder`: answered, and handled after the
    next one.
    """

    lose_request: float = 0.0
    lose_answer: float = 0.0
    forget: float = 0.0
    duplicate: float = 0.0
    delay: Delay | None = None
    reorder: float = 0.0
    reject: Reject | None = None


@dataclass(frozen=True)
class HttpFault:
    """What requests whose path starts with `path` may be answered; `milliseconds` of waiting come first.

    `retry_after` is the header of a 429, in seconds.
    """

    path: str
    probability: float
    answer: Answer
    milliseconds: int | None = None
    retry_after: int | None = None


@dataclass(frozen=True)
class NonceLie:
    """Accounts' nonces are told wrong by `offset`, but never below 0."""

    probability: float
    offset: int


@dataclass(frozen=True)
class Faults:
    """All faults at once: the same seed and the same requests in the same order give the same faults."""

    seed: int = 0
    broadcast: BroadcastFaults = field(default_factory=BroadcastFaults)
    http: tuple[HttpFault, ...] = ()
    nonces: NonceLie | None = None


@dataclass(frozen=True)
class FaultState:
    """What is switched on, how often each was injected since, and how many broadcasts are answered but not in yet.

    `drawn`: how many broadcasts, requests (`http`) and nonces a fault could have met.
    """

    config: Mapping[str, Any]
    drawn: Mapping[str, int]
    injected: Mapping[str, int]
    waiting: int


@dataclass(frozen=True)
class Branch:
    """The canonical chain: how often it went another way, how many of its last blocks can be withdrawn, its tip."""

    forks: int
    forkable: int
    stacks_height: int
    stacks_tip: str
    burn_height: int


@dataclass(frozen=True)
class VmState:
    """Whether the VM's process has the whole chain, and how often it was started again."""

    ready: bool
    restarts: int


class FaultDriver:
    """The fault paths of a devnet; faults never meet these paths themselves."""

    def __init__(self, devnet: DevnetClient) -> None:
        self._devnet = devnet

    async def set(self, faults: Faults) -> FaultState:
        """These and no others from now on; draws and counters start anew, what waits enters the mempool."""
        return _state(await self._devnet.request("PUT", "/devnet/faults", _given(asdict(faults))))

    async def clear(self) -> FaultState:
        """No faults any more; what waits enters the mempool; the counters stay."""
        return _state(await self._devnet.request("DELETE", "/devnet/faults", None))

    async def state(self) -> FaultState:
        """What is switched on, and what it did so far."""
        return _state(await self._devnet.get("/devnet/faults"))

    async def fork(self, depth: int, transactions: Fate = "return", *, burn: bool = False) -> Branch:
        """Withdraws the last `depth` Stacks blocks and mines another branch, of one block at least.

        Their transactions wait again and are mined ("return"), in another order and spread over blocks ("shuffle"), or
        are unknown from then on ("lose"). `burn`: burn blocks that began among them are replaced too. Raises
        DevnetError (409) when a contract was deployed in one of them, or there are not so many.
        """
        body = {"depth": depth, "transactions": transactions, "burn": burn}
        return Branch(**await self._devnet.post("/devnet/fork", body))

    async def branch(self) -> Branch:
        """The canonical chain as it is."""
        return Branch(**await self._devnet.get("/devnet/fork"))

    async def stop_burn_blocks(self) -> None:
        """No burn blocks come, while market time and Stacks blocks go on."""
        await self._devnet.post("/devnet/burn", {"running": False})

    async def resume_burn_blocks(self) -> None:
        """Burn blocks come again; those that market time has passed come at once."""
        await self._devnet.post("/devnet/burn", {"running": True})

    async def crash_vm(self) -> None:
        """Kills the VM's process; the devnet starts it again and gives it the whole chain."""
        await self._devnet.post("/devnet/vm/crash", {})

    async def vm(self) -> VmState:
        """How the VM's process is."""
        answer = await self._devnet.get("/devnet/vm")
        return VmState(bool(answer["ready"]), int(answer["restarts"]))


def _given(value: Any) -> Any:
    """The same without what is None."""
    if isinstance(value, dict):
        return {name: _given(one) for name, one in value.items() if one is not None}
    return [_given(one) for one in value] if isinstance(value, tuple | list) else value


def _state(answer: Mapping[str, Any]) -> FaultState:
    return FaultState(answer["config"], answer["drawn"], answer["injected"], int(answer["waiting"]))
