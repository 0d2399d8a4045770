"""A program whose memory is known for every layer (tests/victims/known_values.c)."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.harness import BUILT, Layers, Reaper, Victim, build, dump, start

PAGE = 4096
STEPS = (1, 2, 3)
PROGRAM = BUILT / "known_values"


def mapped_file() -> bytes:
    return b"".join(f"page {page} of the file".encode().ljust(PAGE, b"=") for page in range(8))


@dataclass
class Known:
    """The victim in its last state, and the layers of its steps."""

    victim: Victim
    at: dict[str, int]
    layers: dict[int, Path]

    def expected(self, step: int) -> dict[str, tuple[int, bytes]]:
        """What was where at the dump of *step*: address and bytes."""
        changed = f"mapped text of step {step}".encode() + b"\0"
        return {
            "a global": (self.at["number"], struct.pack("<q", step * 1000003)),
            "text in .data": (self.at["text"], f"global text of step {step}".encode() + b"\0"),
            "anonymous memory": (self.at["heap"] + 100 * PAGE, f"heap text of step {step}".encode() + b"\0"),
            "memory never written": (self.at["heap"] + 200 * PAGE, bytes(3 * PAGE)),
            "a written page of a file mapping": (self.at["mapping"] + 3 * PAGE, changed),
            "clean pages of a file mapping": (self.at["mapping"] + 4 * PAGE, mapped_file()[4 * PAGE :]),
            "over the border of both": (self.at["mapping"] + 2 * PAGE + 4000, b"=" * 96 + changed),
            "a constant of the program": (self.at["constant"], b"a constant of the program\0"),
        }


def start_known(reaper: Reaper, directory: Path) -> Victim:
    directory.mkdir(parents=True)
    (directory / "mapped").write_bytes(mapped_file())
    return start(reaper, directory, [build("known_values"), str(directory)])


def known_stack(reaper: Reaper, layers: Layers, directory: Path, end: bool = False) -> Known:
    """Three layers, one for each step."""
    victim = start_known(reaper, directory)
    state: dict[str, Any] = {}
    made: dict[int, Path] = {}
    for step in STEPS:
        state = victim.ask(f"set {step}")
        made[step] = layers.new()
        dump(victim, made[step], parent=made.get(step - 1), last=end and step == STEPS[-1])
    return Known(victim, state, made)
