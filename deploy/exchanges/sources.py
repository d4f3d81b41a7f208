"""The oracle's live sources with the stand-ins in place of the exchanges, as a TOML document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy.exchanges.server import STAND_INS

_ADDRESSES: Final[Mapping[str, tuple[str, str]]] = {
    "kraken": ("/kraken", "/kraken/v2"),
    "coinbase": ("/coinbase", "/coinbase/ws"),
    "bitstamp": ("/bitstamp/api", "/bitstamp/ws"),
    "binance": ("/binance/api/v3", "/binance/stream/ws"),
    "okx": ("/okx", "/okx/ws/v5"),
}
"""REST and websocket addresses as ccxt wants them, below the server's."""


def sources_document(address: str, timing: Mapping[str, float]) -> str:
    """What LIVE_SOURCES_FILE holds for the stand-ins at `host:port`; `timing` in seconds, as the oracle names it."""
    lines = ["simulated = true", 'synthetic = ["STX_USD"]', "", "[timing]"]
    lines += [f"{name} = {value}" for name, value in timing.items()]
    for one in STAND_INS:
        rest, websocket = _ADDRESSES[one.name]
        lines += ["", f"[exchange.{one.name}]"]
        lines += [f'rest_url = "http://{address}{rest}"', f'websocket_url = "ws://{address}{websocket}"']
        lines += [f'{pair.split("/")[0]}_USD = "{pair}"' for pair in one.markets]
    return "\n".join(lines) + "\n"
