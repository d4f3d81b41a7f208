"""Signed messages, sound and flawed."""

from __future__ import annotations

from typing import Final

from tests.contracts.chain import CHAIN_ID, Actor, Signed, Terms
from tests.contracts.fuzz.step import Step
from tests.contracts.fuzz.world import Paper, World

_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def paper(world: World, step: Step, kind: str, contract: str, message: Terms, signer: Actor) -> Paper:
    """A message signed with the step's flaw; a replay takes an earlier one of its kind when there is one."""
    kept = world.papers.setdefault(kind, [])
    if step.flaw in ("replayed", "malleable") and kept:
        old = kept[-1 - step.numbers[3] % min(len(kept), 12)]
        if step.flaw == "replayed":
            return old
        return Paper(Signed(old.signed.message, _other_form(old.signed.signature)), old.signer, old.sound)
    if step.flaw in ("forged", "former"):
        signer = world.actors["stranger" if step.flaw == "forged" else "former"]
    made = world.chain.sign(signer, kind, contract, message, CHAIN_ID + (step.flaw == "elsewhere"))
    if step.flaw == "tampered":
        names = [name for name, one in message.items() if type(one) is int]
        name = names[step.numbers[3] % len(names)]
        made = Signed(message | {name: message[name] + 1}, made.signature)
    made_paper = Paper(made, signer, step.flaw not in ("tampered", "elsewhere"))
    kept.append(made_paper)
    return made_paper


def _other_form(signature: bytes) -> bytes:
    """The other signature of the same message by the same key: n - s, and the other recovery id."""
    other = _CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + other.to_bytes(32, "big") + bytes([signature[64] ^ 1])
