"""The model of `parameter`: written from the rules, it says of each call what the contract must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

FOREVER: Final = (1 << 128) - 1
WINDOW: Final = 1008
# Which parameter bounds a pause of a kind; the others last until lifted.
_LONGEST: Final = {"settlement": "settlement.pause-max-blocks", "withdrawals": "withdrawal.pause-max-blocks"}
_OK: Final = (True, True)


@dataclass
class Pause:
    """Covers the heights start <= h < end; `earlier` is the length of all before it."""

    start: int = 0
    end: int = 0
    earlier: int = 0


@dataclass
class Authority:
    """Who may do what, the numbers that count here with their bounds, what waits, and what is paused."""

    admin: str
    backends: set[str]
    oracles: set[bytes]
    values: dict[str, int]
    bounds: dict[str, tuple[int, int]]
    proposed: str | None = None
    scheduled: dict[tuple[Any, ...], int] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(
        default_factory=lambda: {kind: Pause() for kind in ("creation", "deposits", "withdrawals", "settlement")}
    )

    def answer(self, function: str, args: list[Any], sender: str, height: int) -> tuple[bool, int | bool]:
        """Whether a call succeeds, and its value or error; what succeeds is done here too."""
        if function == "accept-admin":
            return self._accept(sender)
        if function == "set-parameter" and args[0] not in self.bounds:
            return False, 1002
        if function == "pause" and args[0] not in self.pauses:
            return False, 1005
        if sender != self.admin:
            return False, 1001
        match function:
            case "set-parameter":
                return self._set(args[0], args[1], height)
            case "add-backend-principal" | "add-oracle-key":
                if function == "add-oracle-key" and args[0][0] not in (2, 3):
                    return False, 1010
                known: set[Any] = self.backends if function.endswith("principal") else self.oracles
                if not self._due((function, args[0]), height):
                    return True, False
                known.add(args[0])
            case "remove-backend-principal" | "remove-oracle-key":
                keys: set[Any] = self.backends if function.endswith("principal") else self.oracles
                known_before = args[0] in keys
                keys.discard(args[0])
                return True, known_before
            case "propose-admin":
                if args[0] != sender and not self._due((function, args[0]), height):
                    return True, False
                self.proposed = args[0]
            case "cancel-change":
                return _OK if self.scheduled.pop(args[0], None) is not None else (False, 1011)
            case "pause":
                return self._pause(args[0], height)
            case "unpause":
                return self._unpause(args[0], height)
        return _OK

    def is_paused(self, kind: str, height: int) -> bool:
        """Whether a pause of this kind runs at a height."""
        return height < self.pauses[kind].end

    def paused_blocks(self, height: int) -> int:
        """All burn blocks of settlement pauses up to a height."""
        last = self.pauses["settlement"]
        return last.earlier + min(height, last.end) - last.start

    def _accept(self, sender: str) -> tuple[bool, int | bool]:
        if sender != self.proposed:
            return False, 1009
        self.admin, self.proposed = sender, None
        return _OK

    def _set(self, name: str, value: int, height: int) -> tuple[bool, int | bool]:
        least, most = self.bounds[name]
        if not least <= value <= most:
            return False, 1003
        if not self._due(("set-parameter", name, value), height):
            return True, False
        self.values[name] = value
        return _OK

    def _pause(self, kind: str, height: int) -> tuple[bool, int | bool]:
        last = self.pauses[kind]
        length = last.end - last.start
        if self.is_paused(kind, height):
            return False, 1006
        if kind in _LONGEST and height <= last.end + length + 1:
            return False, 1008
        end = height + self.values[_LONGEST[kind]] if kind in _LONGEST else FOREVER
        self.pauses[kind] = Pause(height, end, last.earlier + length)
        return _OK

    def _unpause(self, kind: str, height: int) -> tuple[bool, int | bool]:
        if kind not in self.pauses or not self.is_paused(kind, height):
            return False, 1007
        self.pauses[kind].end = height
        return _OK

    def _due(self, change: tuple[Any, ...], height: int) -> bool:
        delay, ready = self.values["admin.delay-blocks"], self.scheduled.get(change)
        if ready is None or height > ready + WINDOW:
            if delay:
                self.scheduled[change] = height + delay
            return delay == 0
        if height < ready:
            return False
        del self.scheduled[change]
        return True
