"""A dump to a page server over loopback, onto tmpfs, beside a plain C program that moves the same bytes in the same minute.

    MiB/s    bytes of pages that arrived, by the time from the connection to the commit; of the C program from its first to its last byte
    frozen   `frozen_time`, beside that of a dump into files
    RssAnon  the most that either side had, in MiB, by looking every few ms
"""

import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benches.programs import launch
from lamina.core.attach.procfs import read_maps
from tests.kernels.criu import criu, why_not
from tests.kernels.test_with_page_server import criu_server
from tests.live.harness import Reaper, lamina, lamina_command
from tests.live.page_servers import page_server

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class SendRow:
    """Medians of several dumps of one kind.

    Attributes:
        act: what was sent, or what else was done.
        rate: MiB/s.
        frozen: ms.
        rss_sender, rss_receiver: MiB; 0 where nobody looked.
        total: ms of the whole command, the start of Python included.
    """

    mib: int
    act: str
    rate: float
    frozen: float = 0.0
    rss_sender: float = 0.0
    rss_receiver: float = 0.0
    total: float = 0.0


class SendBench:
    """One program, sent again and again."""

    def __init__(self, reaper: Reaper, scratch: Path, mib: int, times: int) -> None:
        self.scratch, self.mib, self.times = scratch, mib, times
        self.victim = launch(reaper, scratch / "victim", mib)
        self.copier = ROOT / "build/victims/page_copy"
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", self.copier, Path(__file__).with_name("page_copy.c")], check=True)

    def plain(self) -> float:
        """MiB/s of the C program."""
        low = next(area.start for area in read_maps(self.victim.pid) if not area.path and area.size >= self.mib << 20)
        words = [str(self.copier), str(self.victim.pid), str(low), str(self.mib << 20), str(self.scratch / "copy")]
        took = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        (self.scratch / "copy").unlink()
        return self.mib / took * 1e9

    def local(self) -> float:
        """ms that a dump into files freezes."""
        layer = self.scratch / "local"
        layer.mkdir()
        answer = lamina("dump", "-t", self.victim.pid, "-D", layer, "-R", "--json").json
        shutil.rmtree(layer)
        return float(answer["stats"]["frozen_time"]) / 1e3

    def sent(self, *options: str) -> SendRow:
        """One full dump to a page server."""
        here, there = self.scratch / "S/1", self.scratch / "R/1"
        here.mkdir(parents=True)
        with page_server(there) as server:
            words = lamina_command("dump", "-t", self.victim.pid, "-D", here, *options, *server.sending, "--json")
            sender = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            began = time.perf_counter()
            with watched(sender.pid) as sending, watched(server.process.pid) as receiving:
                out, err = sender.communicate()
                took = (time.perf_counter() - began) * 1e3
                got = server.end().json
        if sender.returncode:
            sys.exit(err)
        frozen = json.loads(out)["stats"]["frozen_time"] / 1e3
        for place in (here, there):
            shutil.rmtree(place)
        rate = got["pages_received"] * 4096 / 2**20 / got["elapsed_us"] * 1e6
        return SendRow(self.mib, "", rate, frozen, sending[0], receiving[0], took)

    def criu(self) -> float:
        """ms that `criu dump --page-server` takes to `criu page-server`; 0 where no criu works."""
        if why_not():
            return 0.0
        here, there = self.scratch / "S/1", self.scratch / "R/1"
        here.mkdir(parents=True)
        with criu_server(there, None) as where:
            began = time.perf_counter()
            criu("dump", here, "-t", self.victim.pid, "-R", "--page-server", "--address", "127.0.0.1", "--port", where[2])
            took = (time.perf_counter() - began) * 1e3
        for place in (here, there):
            shutil.rmtree(place)
        return took

    def rows(self) -> list[SendRow]:
        """Turn about, so that all have the same weather."""
        plain, frozen, runs = [], [], []
        for number in range(self.times + 1):
            found = self.plain(), self.local(), self.sent("-R")
            if number:  # the first one pays for memory that the host has not given yet
                plain.append(found[0])
                frozen.append(found[1])
                runs.append(found[2])
        middle = statistics.median
        return [
            SendRow(self.mib, "plain C program", middle(plain)),
            SendRow(self.mib, "dump into files", 0.0, middle(frozen)),
            SendRow(
                self.mib, "dump to a page server", middle(it.rate for it in runs), middle(it.frozen for it in runs),
                max(it.rss_sender for it in runs), max(it.rss_receiver for it in runs), middle(it.total for it in runs),
            ),
            SendRow(self.mib, "criu dump to criu page-server", 0.0, total=self.criu()),
        ]  # fmt: skip


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """The most private memory that a process has meanwhile, MiB."""
    most, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                if line.startswith("RssAnon:"):
                    most[0] = max(most[0], int(line.split()[1]) / 1024)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def run(reaper: Reaper, scratch: Path, mib: int, times: int) -> tuple[str, list[SendRow]]:
    """Measure, and say it."""
    began = time.monotonic()
    rows = SendBench(reaper, scratch, mib, times).rows()
    plain, local, sent, rival = rows
    lines = [
        f"{mib} MiB to a page server on tmpfs, over loopback ({time.monotonic() - began:.0f} s)",
        f"  plain C program        {plain.rate:>7.0f} MiB/s",
        f"  lamina                 {sent.rate:>7.0f} MiB/s   {sent.rate / plain.rate:.2f} of it",
        f"  frozen                 {sent.frozen:>7.2f} ms      into files {local.frozen:.2f} ms",
        f"  the whole command      {sent.total:>7.0f} ms      "
        + (f"criu dump --page-server {rival.total:.0f} ms" if rival.total else "no criu that works here"),
        f"  RssAnon at most        {sent.rss_sender:>7.1f} MiB     the receiver {sent.rss_receiver:.1f} MiB",
    ]
    return "\n".join(lines), rows
