"""What stand-ins of services are asked, and what a test has them answer."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from kernel.errors import BitHedgeError
from kernel.rpc.interceptors import Context

Answer = Message | BitHedgeError
Default = Callable[[Any], Message]


@dataclass
class Script:
    """What the services were asked, in order, and what they answer next; by default that all is well."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))

    def on(self, method: str, *answers: Answer) -> None:
        """The next answers of a method; then the default again."""
        self.answers[method].extend(answers)

    def asked(self, method: str) -> list[Any]:
        """The requests of one method."""
        return [request for name, request in self.calls if name == method]

    def take(self, method: str, request: Any, default: Default) -> Message:
        """Records the request; the next scripted answer or the default."""
        self.calls.append((method, request))
        answer = self.answers[method].popleft() if self.answers[method] else default(request)
        if isinstance(answer, BitHedgeError):
            raise answer
        return answer


class Scripted:
    """A method that answers from the script under its own name."""

    def __init__(self, default: Default) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, servicer: Any, owner: type) -> Any:
        async def serve(request: Any, context: Context) -> Message:
            script: Script = servicer.script
            return script.take(self._name, request, self._default)

        return serve
