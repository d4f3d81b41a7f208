"""What contracts and policy service would say after the stand-in chain's events, for a reconciliation."""

from __future__ import annotations

from bithedge.chain_gateway.v1 import chain_event_pb2 as event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2, policy_service_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.ids import new_id
from tests.integration.pool.pool_service import RunningPool

_STATES = (policy_pb2.POLICY_STATE_ACTIVE, policy_pb2.POLICY_STATE_SETTLED, policy_pb2.POLICY_STATE_EXPIRED)


def honest_request(pool: RunningPool) -> pb.CreateReconciliationRequest:
    """A reconciliation at the last final height in which contracts and policy service say what happened."""
    vault = gateway_pb2.VaultBalance(token=money_pb2.TOKEN_STX)
    policies: dict[str, gateway_pb2.ContractPolicy] = {}
    for event in pool.gateway.standing_events():
        _follow(event, vault, policies)
    vault.actual_base_units = vault.accounted_base_units
    request = pb.CreateReconciliationRequest(
        name=f"reconciliations/{new_id()}",
        contracts=gateway_pb2.GetContractSnapshotResponse(
            block_hash="ab",
            burn_height=pool.gateway.burn_height,
            final_burn_height=pool.gateway.burn_height - 1,
            balances=[vault, gateway_pb2.VaultBalance(token=money_pb2.TOKEN_SBTC)],
            policies=policies.values(),
        ),
        policies_projected_burn_height=pool.gateway.burn_height - 1,
    )
    for policy in policies.values():
        request.policies.append(
            policy_service_pb2.PolicyTotal(
                onchain_id=policy.onchain_id,
                policy=policy.policy,
                state=_STATES[policy.status],
                max_payout=policy.max_payout,
                payout_base_units=policy.payout_base_units,
                terms=policy.terms,
                created_burn_height=policy.created_burn_height,
                grace_blocks=policy.grace_blocks,
            )
        )
    return request


def _follow(
    event: event_pb2.ChainEvent, vault: gateway_pb2.VaultBalance, policies: dict[str, gateway_pb2.ContractPolicy]
) -> None:
    match event.WhichOneof("payload"):
        case "deposited":
            vault.accounted_base_units += event.deposited.amount.base_units
        case "policy_created":
            created = event.policy_created
            vault.accounted_base_units += created.terms.premium_base_units + created.terms.fee_base_units
            vault.fees_base_units += created.terms.fee_base_units
            vault.locked_base_units += created.max_payout_base_units
            policies[created.terms.policy] = gateway_pb2.ContractPolicy(
                onchain_id=created.onchain_id,
                policy=created.terms.policy,
                max_payout=money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=created.max_payout_base_units),
                terms=created.terms,
                created_burn_height=created.created_burn_height,
                grace_blocks=created.grace_blocks,
            )
        case "policy_settled":
            settled = event.policy_settled
            policy = policies[settled.policy]
            policy.status, policy.payout_base_units = 1, settled.payout.base_units
            vault.accounted_base_units -= settled.payout.base_units
            vault.locked_base_units -= settled.max_payout_base_units
        case "policy_expired":
            policies[event.policy_expired.policy].status = 2
            vault.locked_base_units -= event.policy_expired.max_payout_base_units
        case "withdrawal":
            vault.accounted_base_units -= event.withdrawal.amount.base_units
        case "fees_withdrawn":
            vault.accounted_base_units -= event.fees_withdrawn.amount.base_units
            vault.fees_base_units -= event.fees_withdrawn.amount.base_units
