"""The whole local stack, with the stand-in of a node where the devnet would be."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.layout import Layout, Ports
from deploy.local.processes import ProcessSpec
from deploy.local.stack import Stack
from tests.load.node import plan

DEPLOYER: Final = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
OPERATOR: Final = "ST3RDFS79JDRYKZ665268VRMVRX708S9EG9QH1V1J"


class StackOnNode(Stack):
    """Its chain has the planned policies from its first block; nothing is deployed."""

    def __init__(self, folder: Path, due: int, late: int) -> None:
        super().__init__(Layout(folder, Ports.free(), plan.MARKET_START, 0.0), lambda _: None)
        self._counts = due, late

    def chain_spec(self) -> ProcessSpec:
        """The stand-in's process."""
        due, late = self._counts
        port = self.layout.ports.devnet
        command = [sys.executable, "-m", "tests.load.node", "--port", str(port), "--deployer", DEPLOYER]
        return ProcessSpec("devnet", [*command, "--due", str(due), "--late", str(late)], os.environ, (port,))

    async def principals(self) -> tuple[str, str]:
        """Deployer and operator, as the stand-in has them."""
        return DEPLOYER, OPERATOR
