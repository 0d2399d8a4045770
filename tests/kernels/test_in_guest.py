"""What a guest of `make kernels` has, and the other machines of the tests may lack: ports of the processor, protection keys of memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.core.attach.procfs import read_maps
from tests.live.harness import Layers, Reaper, lamina

PORTS = "it may use processor ports (ioperm)"
KEYS = "it uses protection keys (pkey_alloc)"
# What a program does, and the words for it; "": it can be dumped.
HAVING = {
    "a port": ("libc.ioperm(0x80, 1, 1)", PORTS),
    "all ports, in another thread": ("thread(lambda: libc.ioperm(0, 65536, 1))", PORTS),
    "a port that it gave back": ("libc.ioperm(0x80, 1, 1) or libc.ioperm(0x80, 1, 0)", ""),
    "a key": ("0 if libc.syscall(330, 0, 0) > 0 else 1", KEYS),
    "a key that it gave back": ("libc.syscall(331, libc.syscall(330, 0, 0))", ""),
}
PROGRAM = """
import ctypes, sys, threading
libc = ctypes.CDLL(None)
def thread(act):
    said, done = [], threading.Event()
    def run():
        said.append(act()); done.set(); threading.Event().wait()
    threading.Thread(target=run, daemon=True).start()
    done.wait()
    return said[0]
with open(sys.argv[1], "w") as file:
    file.write(str({act}))
while not threading.Event().wait(0.05):
    pass
"""


@pytest.fixture
def program(request: pytest.FixtureRequest, reaper: Reaper, tmp_path: Path) -> Iterator[int]:
    said = tmp_path / "said"
    nothing = subprocess.DEVNULL
    words = [sys.executable, "-c", PROGRAM.replace("{act}", HAVING[request.param][0]), str(said)]
    process = subprocess.Popen(words, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
    process.returncode = 0  # reaped by pid
    reaper.watch(process.pid)
    while not (said.exists() and said.read_text()):
        assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    assert said.read_text() == "0", "this guest cannot do it"
    yield process.pid


@pytest.mark.parametrize(
    ("program", "words"), [(name, words) for name, (_, words) in HAVING.items()], indirect=["program"], ids=list(HAVING)
)
def test_what_is_set_is_refused_by_name(program: int, words: str, layers: Layers) -> None:
    before = read_maps(program)
    layer = layers.new()
    ran = lamina("dump", "-t", program, "-D", layer, "-R", ok=not words)
    if words:
        assert ran.status == 1 and words in ran.err and ran.err.count("\n") == 1, ran.said
        assert not list(layer.iterdir())
        asked = lamina("check", "--stop", "-t", program, ok=False)
        assert words in asked.out + asked.err, asked.said
    assert read_maps(program) == before
