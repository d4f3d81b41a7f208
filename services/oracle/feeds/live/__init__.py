"""Exchanges as they are now: websocket where there is one, REST where it is silent, through ccxt."""
