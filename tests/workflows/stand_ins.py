"""Stand-ins of the services that activities call: they speak the real protocol and answer what a test scripts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from bithedge.oracle.v1 import oracle_service_pb2 as oracle_pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as policy_pb
from bithedge.policy.v1 import policy_service_pb2_grpc as policy_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb
from bithedge.pool.v1 import pool_service_pb2_grpc as pool_grpc
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2
from google.protobuf.message import Message

from kernel.errors import AlreadyExists, NotFound, Unavailable
from kernel.rpc.interceptors import Context
from tests.workflows.script import Script, Scripted

# The generated bases have every method, unimplemented; for the type checker all would be abstract.
if TYPE_CHECKING:

    class _Oracle:
        pass

    class _Policy:
        pass

    class _Pool:
        pass

    class _Gateway:
        pass
else:
    _Oracle = oracle_grpc.OracleServiceServicer
    _Policy = policy_grpc.PolicyServiceServicer
    _Pool = pool_grpc.PoolServiceServicer
    _Gateway = gateway_grpc.ChainGatewayServiceServicer

SIGNATURE: Final = bytes(range(65))
RECEIPT: Final = price_pb2.SettlementReceipt(
    btc_price_usd_e8=7, stx_price_usd_e8=2, burn_height=900, signature=SIGNATURE
)
REGISTRY_REFUSES: Final = 3001


def policy_in(
    state: str, name: str = "", reason: str = "", token: money_pb2.Token.ValueType = money_pb2.TOKEN_STX
) -> policy_pb2.Policy:
    """A policy in a state, as the policy service would answer it."""
    return policy_pb2.Policy(
        name=name,
        onchain_id=5,
        holder_principal="ST1HOLDER",
        strike_price_usd_e8=9,
        settlement_token=token,
        max_payout=money_pb2.TokenAmount(token=token, base_units=1_000),
        state=policy_pb2.PolicyState.Value(f"POLICY_STATE_{state}"),
        reason=reason,
        activation_receipt=RECEIPT,
        quote_terms=transaction_pb2.QuoteTerms(policy=name, holder_principal="ST1HOLDER", premium_base_units=11),
    )


class OracleStandIn(_Oracle):
    """The oracle service."""

    def __init__(self, script: Script) -> None:
        self.script = script

    CreateActivationReceipt = Scripted(lambda _: oracle_pb.CreateActivationReceiptResponse(receipt=RECEIPT))
    GetReceipt = Scripted(lambda _: oracle_pb.GetReceiptResponse(receipt=RECEIPT))
    CreateExpiryReceipt = Scripted(lambda _: oracle_pb.CreateExpiryReceiptResponse(receipt=RECEIPT))
    EnsurePublishedRounds = Scripted(lambda _: oracle_pb.EnsurePublishedRoundsResponse(btc_round=31, stx_round=32))
    GetPublication = Scripted(
        lambda asked: oracle_pb.GetPublicationResponse(
            signed_round=price_pb2.PriceRound(feed=asked.feed, round=asked.round, signature=SIGNATURE)
        )
    )
    RecordPublication = Scripted(lambda _: oracle_pb.RecordPublicationResponse())


class PolicyStandIn(_Policy):
    """The policy service."""

    def __init__(self, script: Script) -> None:
        self.script = script

    GetPolicy = Scripted(lambda asked: policy_pb.GetPolicyResponse(policy=policy_in("SETTLING", asked.name)))
    RecordSignedQuote = Scripted(
        lambda asked: policy_pb.RecordSignedQuoteResponse(policy=policy_in("PENDING_CREATION", asked.name))
    )
    FailCreation = Scripted(
        lambda asked: policy_pb.FailCreationResponse(policy=policy_in("FAILED_CREATION", asked.name, asked.reason))
    )
    RecordActivationReceipt = Scripted(
        lambda asked: policy_pb.RecordActivationReceiptResponse(
            policy=policy_in("SETTLING", asked.name), in_the_money=True
        )
    )
    RecordSettlementRefusal = Scripted(
        lambda asked: policy_pb.RecordSettlementRefusalResponse(policy=policy_in("SETTLING", asked.name))
    )
    GetExpiryBatch = Scripted(
        lambda asked: policy_pb.GetExpiryBatchResponse(
            batch=policy_pb.ExpiryBatch(
                name=asked.name,
                onchain_ids=[5, 6],
                max_payouts=[money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=2_000)],
            )
        )
    )
    ReleaseExpiryBatch = Scripted(
        lambda asked: policy_pb.ReleaseExpiryBatchResponse(batch=policy_pb.ExpiryBatch(name=asked.name, open_count=2))
    )
    HealPolicies = Scripted(
        lambda asked: policy_pb.HealPoliciesResponse(
            healings=[
                policy_pb.PolicyHealing(policy=name, outcome=policy_pb.HEALING_OUTCOME_HEALED)
                for name in asked.policies
            ]
        )
    )
    ListPolicyTotals = Scripted(lambda _: policy_pb.ListPolicyTotalsResponse(projected_burn_height=900))


class PoolStandIn(_Pool):
    """The pool service."""

    def __init__(self, script: Script) -> None:
        self.script = script

    CreateReservation = Scripted(
        lambda asked: pool_pb.CreateReservationResponse(
            reservation=pool_pb.Reservation(policy=asked.terms.policy, state=pool_pb.RESERVATION_STATE_HELD)
        )
    )
    CancelReservation = Scripted(lambda _: pool_pb.CancelReservationResponse())
    PriceDeposit = Scripted(
        lambda asked: pool_pb.PriceDepositResponse(deposit=pool_pb.Deposit(name=asked.name, shares=77))
    )
    PriceWithdrawal = Scripted(
        lambda asked: pool_pb.PriceWithdrawalResponse(
            withdrawal=pool_pb.Withdrawal(name=asked.name, state=pool_pb.WITHDRAWAL_STATE_PRICED),
            voucher_terms=gateway_pb.VoucherTerms(withdrawal=asked.name, provider_principal="ST1PROVIDER"),
            public_key=b"\x02" * 33,
        )
    )
    RecordVoucher = Scripted(
        lambda asked: pool_pb.RecordVoucherResponse(
            withdrawal=pool_pb.Withdrawal(name=asked.name, state=pool_pb.WITHDRAWAL_STATE_READY)
        )
    )
    AddReconciliationPage = Scripted(lambda _: pool_pb.AddReconciliationPageResponse())
    CompareReconciliation = Scripted(lambda _: pool_pb.CompareReconciliationResponse())
    CreateReconciliation = Scripted(
        lambda asked: pool_pb.CreateReconciliationResponse(reconciliation=pool_pb.Reconciliation(name=asked.name))
    )


def _prepared(asked: Any) -> Message:
    prepared = transaction_pb2.PreparedTransaction(name=f"preparedTransactions/{asked.request_id}")
    return gateway_pb.PrepareTransactionResponse(prepared_transaction=prepared)


class GatewayStandIn(_Gateway):
    """The chain gateway: intents are real in that one key is one intent, and they end when a test says so."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.intents: dict[str, gateway_pb.Intent] = {}
        self.streams = 0
        # So many next intents are accepted without their caller hearing of it.
        self.lost_answers = 0
        self._plan: deque[gateway_pb.Intent] = deque()
        self._calls: dict[str, gateway_pb.ContractCall] = {}
        self._changed = asyncio.Condition()
        self._cuts = 0

    SignQuote = Scripted(lambda _: gateway_pb.SignQuoteResponse(signature=SIGNATURE))
    SignVoucher = Scripted(lambda _: gateway_pb.SignVoucherResponse(signature=SIGNATURE))
    PrepareTransaction = Scripted(_prepared)
    GetContractSnapshot = Scripted(lambda _: gateway_pb.GetContractSnapshotResponse(block_hash="aa", burn_height=900))

    def plan(self, *ends: gateway_pb.Intent) -> None:
        """How the next new intents end, each at once; without a plan an intent stays QUEUED."""
        self._plan.extend(ends)

    async def move(self, key: str, to: gateway_pb.Intent) -> None:
        """Changes what is known of an intent."""
        async with self._changed:
            self.intents[key].MergeFrom(to)
            self._changed.notify_all()

    async def cut_streams(self) -> None:
        """Ends every WatchIntent stream without an error, as a proxy may."""
        async with self._changed:
            self._cuts += 1
            self._changed.notify_all()

    async def CreateIntent(self, request: Any, context: Context) -> Any:
        """One intent per key; the same key for another call is refused."""
        accepted = self.script.take("CreateIntent", request, lambda _: self._accept(request))
        if self.lost_answers:
            self.lost_answers -= 1
            raise unavailable("ANSWER_LOST")
        return accepted

    def _accept(self, request: gateway_pb.CreateIntentRequest) -> gateway_pb.CreateIntentResponse:
        if self._calls.setdefault(request.key, request.call) != request.call:
            raise AlreadyExists("INTENT_KEY_REUSED", "the key stands for another call")
        if request.key not in self.intents:
            name = f"intents/{len(self.intents)}"
            intent = gateway_pb.Intent(name=name, key=request.key, state=gateway_pb.INTENT_STATE_QUEUED)
            if self._plan:
                intent.MergeFrom(self._plan.popleft())
            self.intents[request.key] = intent
        return gateway_pb.CreateIntentResponse(intent=self.intents[request.key])

    def _find(self, name: str) -> gateway_pb.Intent:
        for intent in self.intents.values():
            if intent.name == name:
                return intent
        raise NotFound("UNKNOWN_INTENT", f"there is no {name}")

    async def GetIntent(self, request: Any, context: Context) -> Any:
        """The intent as it is."""
        return gateway_pb.GetIntentResponse(intent=self._find(request.name))

    async def WatchIntent(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """The intent and its changes until it has ended or the stream is cut."""
        intent = self._find(request.name)
        self.script.take("WatchIntent", request, lambda _: gateway_pb.WatchIntentResponse())
        self.streams += 1
        cuts, seen = self._cuts, b""
        try:
            while cuts == self._cuts:
                if (now := intent.SerializeToString(deterministic=True)) != seen:
                    seen = now
                    yield gateway_pb.WatchIntentResponse(intent=intent)
                if intent.state >= gateway_pb.INTENT_STATE_CONFIRMED:
                    return
                async with self._changed:
                    await self._changed.wait()
        finally:
            self.streams -= 1


CONFIRMED: Final = gateway_pb.Intent(
    state=gateway_pb.INTENT_STATE_CONFIRMED,
    transactions=[gateway_pb.Transaction(txid="c0ffee", node_status="success")],
)
MINED: Final = gateway_pb.Intent(
    state=gateway_pb.INTENT_STATE_SUBMITTED,
    transactions=[
        gateway_pb.Transaction(txid="c0ffee", node_status="success"),
        gateway_pb.Transaction(txid="5105e5", node_status="dropped_replace_by_fee"),
    ],
)
ABORTED: Final = gateway_pb.Intent(
    state=gateway_pb.INTENT_STATE_ABORTED, contract_error=REGISTRY_REFUSES, reason="settlement is paused"
)
CANCELLED: Final = gateway_pb.Intent(state=gateway_pb.INTENT_STATE_CANCELLED, reason="NONCE_TAKEN")


def unavailable(reason: str = "NOT_THERE_YET") -> Unavailable:
    """What a service answers while something is not there yet."""
    return Unavailable(reason, "not there yet")
