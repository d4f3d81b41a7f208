"""What a person sees while the demo runs: one living line on a terminal, a line an hour in a log."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from bithedge.type.v1 import money_pb2
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.look import tokens, usd
from deploy.demo.invariants import TokenBooks
from deploy.demo.market import Moment
from deploy.demo.plan import SBTC
from kernel.clock import SECONDS_PER_BURN_BLOCK

_BLOCKS_PER_LINE: Final = 3600 // SECONDS_PER_BURN_BLOCK


class MarketProgress:
    """Follows the market from block to block. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("waiting for the first block", total=None)
        self._blocks = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def block(self, moment: Moment, books: dict[str, TokenBooks], assertions: int) -> None:
        """One more burn block that every part has followed."""
        locked = tokens(money_pb2.TokenAmount(token=SBTC, base_units=books["sBTC"].chain_locked))
        line = (
            f"{moment.market_time}  burn block {moment.burn_height}  BTC {usd(moment.btc_price_usd_e8)}  "
            f"locked {locked}  {assertions} assertions held"
        )
        self._progress.update(self._task, description=line)
        if not self._console.is_terminal and self._blocks % _BLOCKS_PER_LINE == 0:
            self._console.print(f"  {line}")
        self._blocks += 1
