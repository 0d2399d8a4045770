"""redis-server, Debian's: threads, epoll, listening sockets, pipes; its keys read back by redis-cli."""

import os
import socket
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.harness import PATIENCE_S, Layers, Reaper, Victim, dump, full, lamina, need, restore

KEYS = full(200_000, 5_000)
ROUNDS = full(50, 1)
WORK_S = full(10, 0.5)  # in the first round
Keys = dict[str, str]


@dataclass
class Redis:
    victim: Victim
    port: int

    def cli(self, lines: list[str]) -> list[str]:
        """What redis-cli prints for *lines* of commands; afterwards no client is connected any more."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port)], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120, check=True
        )
        self.wait_alone()
        return done.stdout.splitlines()

    def wait_alone(self) -> None:
        """The server closes a client's socket when it reads its end of file: shortly after."""
        deadline = time.monotonic() + PATIENCE_S
        while sum(link.startswith("socket:") for link in links_of(self.victim.pid)) > 1:
            assert time.monotonic() < deadline, "redis keeps a client"
            time.sleep(0.005)

    def put(self, keys: Keys) -> None:
        items = list(keys.items())
        answers = self.cli(["MSET " + " ".join(f"{key} {value}" for key, value in items[at : at + 40]) for at in range(0, len(items), 40)])
        assert set(answers) == {"OK"}

    def drop(self, keys: list[str]) -> None:
        self.cli(["DEL " + " ".join(keys[at : at + 100]) for at in range(0, len(keys), 100)])

    def check(self, keys: Keys) -> None:
        """It holds exactly *keys*, as redis-cli reads them."""
        assert self.cli(["DBSIZE"]) == [str(len(keys))]
        names = list(keys)
        values = self.cli(["MGET " + " ".join(names[at : at + 100]) for at in range(0, len(names), 100)])
        assert values == [keys[name] for name in names]


def links_of(pid: int) -> list[str]:
    """Where its descriptors lead; those that close meanwhile are left out."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def launch(reaper: Reaper, directory: Path) -> Redis:
    directory.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(directory / "out", "wb") as out:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(directory)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=directory,
        )  # fmt: skip
    process.returncode = 0
    reaper.watch(process.pid)
    redis = Redis(Victim(process.pid, directory, reaper, written=("out",)), port)
    deadline = time.monotonic() + PATIENCE_S
    while True:  # redis offers no other sign that it is ready than that it answers
        try:
            assert redis.cli(["PING"]) == ["PONG"]
            return redis
        except (subprocess.CalledProcessError, AssertionError):
            assert time.monotonic() < deadline, redis.victim.errors()
            time.sleep(0.02)


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_back_to_every_layer(round_number: int, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    need("redis-server", "redis-cli")
    redis = launch(reaper, tmp_path / "redis")
    keys = {f"key:{n}": f"value-{n}" for n in range(KEYS)}
    redis.put(keys)
    history: list[tuple[Path, Keys]] = []

    def take(last: bool = False) -> None:
        layer = layers.new()
        ran = dump(redis.victim, layer, parent=history[-1][0] if history else None, last=last)
        if history:
            assert ran.json["stats"]["pages_skipped_parent"] > ran.json["stats"]["pages_written"], ran.said
        history.append((layer, dict(keys)))

    take()
    for number in range(1, 4):
        changed = {f"key:{n}": f"value-{n}-{number}" for n in range(number, KEYS, 997)}
        changed |= {f"new:{number}:{n}": "x" * n for n in range(1, 50)}
        redis.put(changed)
        keys |= changed
        gone = [f"key:{n}" for n in range(number * 31, KEYS, 4999)]
        redis.drop(gone)
        for name in gone:
            keys.pop(name, None)
        take(last=number == 3)

    for layer, held in (history[1], history[3], history[0], history[2]):
        restore(redis.victim, layer)
        redis.check(held)
        tally["restore: redis-server"] += 1

    layer, held = history[2]
    began = uptime(redis)
    while uptime(redis) < began + max(1, WORK_S if round_number == 0 else 0):
        time.sleep(0.1)
    redis.put({"after": "restore"})
    branch = layers.new()
    dump(redis.victim, branch, parent=layer)
    redis.put({"after": "the-branch"})
    restore(redis.victim, branch)
    redis.check(held | {"after": "restore"})
    assert lamina("stack", layers.path, "--json").json["layers"]
    tally[f"the seed's session: redis-server, {KEYS:,} keys"] += 1


def uptime(redis: Redis) -> int:
    return next(int(line.split(":")[1]) for line in redis.cli(["INFO server"]) if line.startswith("uptime_in_seconds:"))
