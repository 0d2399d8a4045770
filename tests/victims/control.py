"""The Python side of control.h: how a victim is asked and answers without keeping a descriptor open."""

import hashlib
import json
import os
import time
from typing import Any


class Control:
    def __init__(self, directory: str) -> None:
        self._ask = os.path.join(directory, "ask")
        self._answer = os.path.join(directory, "answer")
        self._hold = os.path.join(directory, "hold")

    def question(self) -> str | None:
        try:
            with open(self._ask) as file:
                line = file.read()
        except FileNotFoundError:
            return None
        os.unlink(self._ask)
        return line.strip()

    def held(self) -> bool:
        return os.path.exists(self._hold)

    def park(self) -> None:
        while self.held():
            time.sleep(0.002)

    def reply(self, value: Any) -> None:
        with open(self._answer, "w") as file:
            file.write(json.dumps(value))


class Chain:
    """A state that says of itself whether it is whole: `digest` is SHA-256 applied `steps` times to the seed."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        # One value, so that a reader in another thread never sees half a step.
        self.now = (0, seed.encode())

    @property
    def steps(self) -> int:
        return self.now[0]

    @property
    def digest(self) -> bytes:
        return self.now[1]

    def step(self) -> None:
        steps, digest = self.now
        self.now = (steps + 1, hashlib.sha256(digest).digest())

    def state(self) -> dict[str, Any]:
        steps, digest = self.now
        return {"seed": self.seed, "steps": steps, "digest": digest.hex()}

    @staticmethod
    def digest_of(seed: str, steps: int) -> str:
        digest = seed.encode()
        for _ in range(steps):
            digest = hashlib.sha256(digest).digest()
        return digest.hex()
