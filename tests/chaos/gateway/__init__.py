"""The chain gateway under fire: `python -m tests.chaos.gateway --intents N --seed S`."""

import os

# Children are started after gRPC, whose fork handlers are of no use to them; it reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
