"""Reconciliation and tier figures: protobuf to domain and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bithedge.chain_gateway.v1 import chain_event_pb2, chain_gateway_service_pb2
from bithedge.policy.v1 import policy_pb2, policy_service_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.errors import InvalidArgument
from kernel.ids import parse_resource_name, resource_name
from kernel.units import Token
from services.pool import convert, tables
from services.pool.comparison import Snapshot
from services.pool.domain import chain_event as chain
from services.pool.domain.likely_cause import SENTENCES
from services.pool.domain.reconciliation import Contracts, Difference, Pending, PolicyFact, Sums
from services.pool.domain.service_healing import HealingOutcome
from services.pool.domain.terms import Terms
from services.pool.staging import Page, Reread
from services.pool.store_stage import Book

_STATUS: Final = ("ACTIVE", "SETTLED", "EXPIRED")
_OF_QUOTE: Final = frozenset(transaction_pb2.QuoteTerms.DESCRIPTOR.fields_by_name)
_BLOCK_HASH: Final = re.compile(r"(0x)?[0-9a-f]{1,64}")


def snapshot(request: pb.CreateReconciliationRequest | pb.CompareReconciliationRequest) -> Snapshot:
    """What a reconciliation compares the ledger with, but for policies."""
    given = request.contracts
    return Snapshot(
        _block_hash(given),
        contracts(given),
        pending(given.pending_events),
        final_burn_height(given),
        given.burn_height,
        request.policies_projected_burn_height,
        max(request.policies_projected_burn_height, request.policies_latest_burn_height),
    )


def whole_books(request: pb.CreateReconciliationRequest) -> tuple[Page, ...]:
    """The policies of a request that has them all, each book as one page; none where they are staged."""
    if not request.staged:
        given = request.contracts
        return (
            _contracts_page(given, 0, 0),
            _policies_page(request.policies, 0, 0),
        )
    if request.contracts.policies or request.policies:
        raise InvalidArgument.of("staged", "policies are staged or in the request, not both")
    return ()


def page(request: pb.AddReconciliationPageRequest) -> Page:
    """A page to stage."""
    after = request.after_onchain_id
    match request.WhichOneof("page"):
        case "contracts":
            found = _contracts_page(request.contracts, after, request.contracts.next_after_onchain_id)
        case "policies":
            found = _policies_page(request.policies.policies, after, request.policies.next_after_onchain_id)
        case _:
            raise InvalidArgument.of("page", "expected contracts or policies")
    if after < 0:
        raise InvalidArgument.of("after_onchain_id", "expected at least 0")
    if found.next_after_onchain_id and found.next_after_onchain_id <= after:
        raise InvalidArgument.of("page.next_after_onchain_id", "expected 0, or more than after_onchain_id")
    return found


def reread(request: pb.CreateReconciliationRequest) -> Reread:
    """The policies that were read again."""
    outcomes = {
        parse_resource_name("policies", one.policy, "reread_policies.policy"): _outcome(one.outcome)
        for one in request.reread_policies
    }
    totals = [one.total for one in request.reread_policies if one.HasField("total")]
    if any(one.total.policy != one.policy for one in request.reread_policies if one.HasField("total")):
        raise InvalidArgument.of("reread_policies.total", "expected that of its policy")
    if outcomes and not request.staged:
        raise InvalidArgument.of("reread_policies", "only where the books are staged")
    return Reread(outcomes, _service_policies(totals), _terms(totals, "reread_policies.total"))


def _outcome(outcome: policy_service_pb2.HealingOutcome.ValueType) -> HealingOutcome:
    if outcome not in policy_service_pb2.HealingOutcome.values():
        raise InvalidArgument.of("reread_policies.outcome", "unknown outcome")
    return HealingOutcome(policy_service_pb2.HealingOutcome.Name(outcome).removeprefix("HEALING_OUTCOME_"))


def _contracts_page(given: chain_gateway_service_pb2.GetContractSnapshotResponse, after: int, next_after: int) -> Page:
    facts, terms = _contract_policies(given.policies), _terms(given.policies, "contracts.policies")
    return Page(Book.CONTRACTS, after, next_after, _block_hash(given), facts, terms)


def _policies_page(totals: Iterable[policy_service_pb2.PolicyTotal], after: int, next_after: int) -> Page:
    return Page(Book.POLICIES, after, next_after, "", _service_policies(totals), _terms(totals, "policies"))


def _block_hash(given: chain_gateway_service_pb2.GetContractSnapshotResponse) -> str:
    if not _BLOCK_HASH.fullmatch(given.block_hash):
        raise InvalidArgument.of("contracts.block_hash", "expected 1 to 64 hexadecimal digits")
    return given.block_hash


def contracts(snapshot: chain_gateway_service_pb2.GetContractSnapshotResponse) -> Contracts:
    """What the contracts say, but for policies."""
    sums, actual = {}, {}
    for balance in snapshot.balances:
        token = convert.token(balance.token, "contracts.balances.token")
        sums[token] = Sums(balance.accounted_base_units, balance.locked_base_units, balance.fees_base_units)
        actual[token] = balance.actual_base_units
    return Contracts(sums, actual, {})


def _contract_policies(policies: Iterable[chain_gateway_service_pb2.ContractPolicy]) -> Mapping[str, PolicyFact]:
    return {
        parse_resource_name("policies", policy.policy, "contracts.policies.policy"): PolicyFact(
            _status(policy.status),
            convert.token(policy.max_payout.token, "contracts.policies.max_payout"),
            policy.max_payout.base_units,
            policy.payout_base_units,
        )
        for policy in policies
    }


def _status(number: int) -> str:
    if number not in range(len(_STATUS)):
        raise InvalidArgument.of("contracts.policies.status", "expected 0, 1 or 2")
    return _STATUS[number]


def final_burn_height(snapshot: chain_gateway_service_pb2.GetContractSnapshotResponse) -> int:
    """Height up to which the snapshot's events were final; a gateway that does not say has one confirmation."""
    if snapshot.final_burn_height:
        return snapshot.final_burn_height
    return min((event.burn_height for event in snapshot.pending_events), default=snapshot.burn_height) - 1


def pending(events: Iterable[chain_event_pb2.ChainEvent]) -> Pending:
    """The effects of events that were not final."""
    effects: dict[Token, Sums] = {}
    created: set[str] = set()
    ended: dict[str, PolicyFact] = {}
    for event in events:
        payload = convert.chain_event(event).payload
        match payload:
            case chain.PolicyCreated(policy_id=policy_id):
                created.add(policy_id)
            case chain.PolicySettled(policy_id=policy_id):
                ended[policy_id] = PolicyFact("SETTLED", payload.token, payload.max_payout, payload.payout)
            case chain.PolicyExpired(policy_id=policy_id):
                ended[policy_id] = PolicyFact("EXPIRED", payload.token, payload.max_payout, 0)
        effect = _effect(payload)
        if effect is not None:
            token, sums = effect
            effects[token] = effects.get(token, Sums()).plus(sums)
    return Pending(effects, frozenset(created), ended)


def _effect(payload: chain.Payload) -> tuple[Token, Sums] | None:
    match payload:
        case chain.Deposited(token=token, amount=amount):
            return token, Sums(accounted=amount)
        case chain.PolicyCreated(policy=policy, fee=fee):
            return policy.token, Sums(policy.premium + fee, policy.max_payout, fee)
        case chain.PolicySettled(token=token, payout=payout, max_payout=max_payout):
            return token, Sums(-payout, -max_payout)
        case chain.PolicyExpired(token=token, max_payout=max_payout):
            return token, Sums(locked=-max_payout)
        case chain.VoucherPaid(token=token, amount=amount):
            return token, Sums(accounted=-amount)
        case chain.FeesWithdrawn(token=token, amount=amount):
            return token, Sums(accounted=-amount, fees=-amount)
    return None


def _service_policies(totals: Iterable[policy_service_pb2.PolicyTotal]) -> Mapping[str, PolicyFact]:
    return {
        parse_resource_name("policies", total.policy, "policies.policy"): PolicyFact(
            policy_pb2.PolicyState.Name(total.state).removeprefix("POLICY_STATE_"),
            convert.token(total.max_payout.token, "policies.max_payout"),
            total.max_payout.base_units,
            total.payout_base_units,
        )
        for total in totals
    }


def _terms(
    policies: Iterable[chain_gateway_service_pb2.ContractPolicy] | Iterable[policy_service_pb2.PolicyTotal], field: str
) -> Mapping[str, Terms]:
    """Of those that come with terms; a service of the release before sends none."""
    return {
        parse_resource_name("policies", policy.policy, f"{field}.policy"): _terms_of(policy, f"{field}.terms")
        for policy in policies
        if policy.HasField("terms")
    }


def _terms_of(policy: chain_gateway_service_pb2.ContractPolicy | policy_service_pb2.PolicyTotal, field: str) -> Terms:
    terms = policy.terms
    if terms.policy != policy.policy:
        raise InvalidArgument.of(f"{field}.policy", "expected the policy that they are of")
    if not terms.holder_principal.isprintable():
        raise InvalidArgument.of(f"{field}.holder_principal", "expected a principal")
    told = {name: getattr(terms if name in _OF_QUOTE else policy, name) for name in Terms._fields}
    return Terms(**told)


def difference_json(difference: Difference) -> dict[str, Any]:
    """For the report's row."""
    resolution = "HEALED" if difference.healed else "PERSON"
    return {
        "kind": difference.kind,
        "subject": difference.subject,
        "contracts_say": difference.contracts_say,
        "ledger_says": difference.ledger_says,
        "policies_say": difference.policies_say,
        "likely_cause": SENTENCES[difference.cause],
        "cause": str(difference.cause),
        "resolution": f"DIFFERENCE_RESOLUTION_{resolution}",
    }


def reconciliation_message(row: tables.Reconciliation) -> pb.Reconciliation:
    """A report."""
    return pb.Reconciliation(
        name=resource_name("reconciliations", row.id),
        block_hash=row.block_hash,
        burn_height=row.burn_height,
        create_time=convert.timestamp(row.create_time),
        differences=[pb.Difference(**difference) for difference in row.differences],
        policies_compared=row.policies_compared,
        accounts_compared=row.accounts_compared,
    )
