"""What the demo shows and writes: every policy, the pool's books, the reconciliation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bithedge.policy.v1 import policy_pb2
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2
from rich.console import Console
from rich.table import Table

from cli.look import figure, usd
from deploy.demo.invariants import TOKEN_NAMES, TokenBooks
from deploy.demo.market import DemoError
from deploy.demo.scenario import Played
from kernel.units import Token, payout

_SHOWN_TXID: Final = 8
# Below it the stories would break the table into pieces; README tells them too.
_STORY_WIDTH: Final = 180


@dataclass(frozen=True)
class Result:
    """All that the demo found."""

    policies: Sequence[tuple[Played, policy_pb2.Policy]]
    books: dict[str, TokenBooks]
    reconciliation: pool_pb2.Reconciliation
    assertions: int
    burn_blocks: int
    seconds: float


def check_payouts(policies: Sequence[tuple[Played, policy_pb2.Policy]]) -> None:
    """DemoError unless every payout is the formula's, from the fields of the policy itself."""
    for played, policy in policies:
        paid = policy.payout.base_units
        expected = 0
        if policy.state == policy_pb2.POLICY_STATE_SETTLED:
            expected = payout(
                Token(policy.settlement_token),
                policy.protected_amount_sats,
                policy.strike_price_usd_e8,
                policy.floor_price_usd_e8,
                policy.settlement_btc_price_usd_e8,
                policy.settlement_stx_price_usd_e8,
                policy.max_payout.base_units,
            )
        if paid != expected:
            raise DemoError(f"policy {played.plan.scenario}: paid {paid}, the formula gives {expected}")
    _check_stories({played.plan.scenario: policy for played, policy in policies})


def _check_stories(policies: dict[str, policy_pb2.Policy]) -> None:
    stories = {
        "a is paid between zero and the cap": (
            0 < policies["a"].payout.base_units < policies["a"].max_payout.base_units
        ),
        "b is paid exactly the cap": policies["b"].payout.base_units == policies["b"].max_payout.base_units,
        "c is paid nothing": policies["c"].payout.base_units == 0,
        "d is paid without its holder": policies["d"].activation_number == 0 < policies["d"].payout.base_units,
        "e never reached the chain": policies["e"].onchain_id == 0,
        "f is paid in STX": policies["f"].payout.token == money_pb2.TOKEN_STX and policies["f"].payout.base_units > 0,
    }
    for story, holds in stories.items():
        if not holds:
            raise DemoError(f"not so: {story}")


def _state(policy: policy_pb2.Policy) -> str:
    return policy_pb2.PolicyState.Name(policy.state).removeprefix("POLICY_STATE_")


def _txids(policy: policy_pb2.Policy) -> list[str]:
    return list(dict.fromkeys(txid for txid in (policy.creation_txid, policy.last_status_txid) if txid))


def as_json(result: Result) -> dict[str, Any]:
    """The content of build/demo.json; amounts in base units."""
    return {
        "policies": [_policy_json(played, policy) for played, policy in result.policies],
        "pool": {
            name: {
                "vault_balance": books.vault_balance,
                "vault_accounted": books.vault_accounted,
                "chain_locked": books.chain_locked,
                "ledger_balance": books.ledger_balance,
                "ledger_locked": books.ledger_locked,
            }
            for name, books in result.books.items()
        },
        "reconciliation": {
            "name": result.reconciliation.name,
            "block_hash": result.reconciliation.block_hash,
            "differences": len(result.reconciliation.differences),
            "policies_compared": result.reconciliation.policies_compared,
        },
        "assertions": result.assertions,
        "burn_blocks": result.burn_blocks,
        "seconds": round(result.seconds, 1),
    }


def _policy_json(played: Played, policy: policy_pb2.Policy) -> dict[str, Any]:
    return {
        "scenario": played.plan.scenario,
        "story": played.plan.story,
        "id": policy.name.removeprefix("policies/"),
        "onchain_id": policy.onchain_id,
        "state": _state(policy),
        "onchain_state": policy_pb2.OnchainState.Name(policy.onchain_state).removeprefix("ONCHAIN_STATE_"),
        "token": TOKEN_NAMES[policy.settlement_token],
        "tier": money_pb2.Tier.Name(policy.tier).removeprefix("TIER_"),
        "strike_price_usd_e8": policy.strike_price_usd_e8,
        "floor_price_usd_e8": policy.floor_price_usd_e8,
        "settlement_price_usd_e8": policy.settlement_btc_price_usd_e8,
        "settlement_stx_price_usd_e8": policy.settlement_stx_price_usd_e8,
        "protected_amount_sats": policy.protected_amount_sats,
        "premium": policy.premium.base_units,
        "fee": policy.fee.base_units,
        "max_payout": policy.max_payout.base_units,
        "payout": policy.payout.base_units,
        "creation_burn_height": policy.creation_burn_height,
        "expiration_burn_height": policy.expiration_burn_height,
        "txids": _txids(policy),
    }


def write_json(result: Result, path: Path) -> None:
    """Writes the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(as_json(result), indent=2) + "\n")
    temporary.replace(path)


def show(result: Result, console: Console) -> None:
    """The tables."""
    console.print()
    console.print(_policy_table(result, console.width >= _STORY_WIDTH))
    console.print()
    console.print(_pool_table(result))
    console.print()
    report = result.reconciliation
    for difference in report.differences:
        console.print(f"  difference {difference.kind} in {difference.subject}: {difference.likely_cause}")
    if report.differences:
        console.print(f"[red]{len(report.differences)} differences[/red]")
    else:
        console.print(
            f"[green]reconciliation at burn block {report.burn_height}: ledger = policies = contracts, 0 differences "
            f"in {report.policies_compared} policies and {report.accounts_compared} accounts[/green]",
            soft_wrap=True,
        )
    console.print(
        f"{result.burn_blocks} burn blocks, {result.assertions} assertions of solvency held, {result.seconds:.1f} s"
    )


def _policy_table(result: Result, with_stories: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    columns = ("", "state", "heights", "strike", "floor", "settled at", "premium", "at most", "payout", "", "txids")
    for column in columns:
        table.add_column(column, no_wrap=True)
    if with_stories:
        table.add_column("story")
    for played, policy in result.policies:
        settled_at = policy.settlement_btc_price_usd_e8
        cells = [
            played.plan.scenario,
            _state(policy),
            f"{policy.creation_burn_height or ''}-{policy.expiration_burn_height}",
            usd(policy.strike_price_usd_e8),
            usd(policy.floor_price_usd_e8),
            usd(settled_at) if settled_at else "",
            figure(policy.premium),
            figure(policy.max_payout),
            figure(policy.payout) if policy.payout.token else "",
            TOKEN_NAMES[policy.settlement_token],
            " ".join(txid[:_SHOWN_TXID] for txid in _txids(policy)),
        ]
        table.add_row(*cells, *([played.plan.story] if with_stories else []))
    return table


def _pool_table(result: Result) -> Table:
    columns = ("pool", "vault holds", "accounted", "ledger", "locked on chain", "in ledger", "open max payouts")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for name, books in result.books.items():
        token = money_pb2.TOKEN_STX if name == "STX" else money_pb2.TOKEN_SBTC
        amounts = (
            books.vault_balance,
            books.vault_accounted,
            books.ledger_balance,
            books.chain_locked,
            books.ledger_locked,
            books.open_max_payouts,
        )
        table.add_row(name, *(figure(money_pb2.TokenAmount(token=token, base_units=amount)) for amount in amounts))
    return table
