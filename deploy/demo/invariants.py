"""The invariants of solvency, asserted after every burn block against contracts and ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2

from deploy.demo.market import DemoError
from deploy.demo.people import Services
from kernel.rpc.channels import remote_errors

TOKEN_NAMES: Final = {money_pb2.TOKEN_STX: "STX", money_pb2.TOKEN_SBTC: "sBTC"}
_ACTIVE: Final = 0
_PAGE: Final = 200
_READS: Final = 50


@dataclass(frozen=True)
class TokenBooks:
    """What contracts and ledger say of one token, in base units."""

    vault_balance: int
    vault_accounted: int
    vault_fees: int
    chain_locked: int
    open_max_payouts: int
    ledger_balance: int
    ledger_locked: int
    # Of the vault's events that are not final yet.
    pending_accounted: int
    pending_locked: int


class NeverStill(DemoError):
    """The books moved between every two reads."""


async def read_books(operator: Services) -> dict[str, TokenBooks]:
    """Contracts and ledger of one moment: read again while either moves; NeverStill after many reads."""
    for _ in range(_READS):
        with remote_errors():
            before = await _snapshot(operator)
            ledger = await operator.pool.GetPoolStatement(pool_pb2.GetPoolStatementRequest())
            after = await _snapshot(operator)
        same_block = before.block_hash == after.block_hash and before.sequence == after.sequence
        if same_block and ledger.projected_burn_height == before.final_burn_height:
            return {name: _books(token, before, ledger) for token, name in TOKEN_NAMES.items()}
    raise NeverStill("contracts and ledger never stood still")


async def _snapshot(operator: Services) -> gateway_pb2.GetContractSnapshotResponse:
    snapshot: gateway_pb2.GetContractSnapshotResponse = await operator.gateway.GetContractSnapshot(
        gateway_pb2.GetContractSnapshotRequest(page_size=_PAGE)
    )
    return snapshot


def _books(
    token: money_pb2.Token.ValueType,
    snapshot: gateway_pb2.GetContractSnapshotResponse,
    ledger: pool_pb2.GetPoolStatementResponse,
) -> TokenBooks:
    vault = next(balance for balance in snapshot.balances if balance.token == token)
    totals = next((one for one in ledger.totals if one.token == token), pool_pb2.PoolTotals())
    effects = [_effect(event, token) for event in snapshot.pending_events]
    return TokenBooks(
        vault_balance=vault.actual_base_units,
        vault_accounted=vault.accounted_base_units,
        vault_fees=vault.fees_base_units,
        chain_locked=vault.locked_base_units,
        open_max_payouts=sum(
            policy.max_payout.base_units
            for policy in snapshot.policies
            if policy.status == _ACTIVE and policy.max_payout.token == token
        ),
        ledger_balance=totals.ledger_balance_base_units,
        ledger_locked=totals.ledger_locked_base_units,
        pending_accounted=sum(accounted for accounted, _ in effects),
        pending_locked=sum(locked for _, locked in effects),
    )


def _effect(event: chain_event_pb2.ChainEvent, token: money_pb2.Token.ValueType) -> tuple[int, int]:
    """How an event moves `accounted` and `locked` of a token."""
    match event.WhichOneof("payload"):
        case "policy_created" if event.policy_created.terms.token == token:
            created = event.policy_created
            paid = created.terms.premium_base_units + created.terms.fee_base_units
            return paid, created.max_payout_base_units
        case "policy_settled" if event.policy_settled.payout.token == token:
            settled = event.policy_settled
            return -settled.payout.base_units, -settled.max_payout_base_units
        case "policy_expired" if event.policy_expired.token == token:
            return 0, -event.policy_expired.max_payout_base_units
        case "deposited" if event.deposited.amount.token == token:
            return event.deposited.amount.base_units, 0
        case "withdrawal" if event.withdrawal.amount.token == token:
            return -event.withdrawal.amount.base_units, 0
    return 0, 0


def check_books(books: dict[str, TokenBooks]) -> int:
    """How many assertions held; DemoError naming the first that does not."""
    held = 0
    for name, token in books.items():
        assertions = {
            "sum of max_payout of open policies = locked": token.open_max_payouts == token.chain_locked,
            "locked <= accounted - fees": token.chain_locked <= token.vault_accounted - token.vault_fees,
            "accounted <= actual balance": token.vault_accounted <= token.vault_balance,
            "accounted = ledger + events not final": (
                token.vault_accounted == token.ledger_balance + token.pending_accounted
            ),
            "locked = ledger + events not final": token.chain_locked == token.ledger_locked + token.pending_locked,
        }
        for what, holds in assertions.items():
            if not holds:
                raise DemoError(f"{name}: {what} does not hold: {token}")
            held += 1
    return held
