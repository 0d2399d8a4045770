"""Real programs under lamina: started, asked, dumped, killed and reaped by pid, whatever happens.

The test process is the subreaper of everything it starts, so also of what a detached restore leaves behind: every process ends by `Reaper`.
Nothing waits by sleeping: victims answer through a fifo, ends are seen through pidfds.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ROOT / "tests/victims"
BUILT = ROOT / "build/victims"
FULL = os.environ.get("LAMINA_LIVE") == "full"
# A guest of `make kernels` is emulated: lamina takes half a minute there to come up.
PATIENCE_S = 240.0 if os.environ.get("LAMINA_KERNEL") else 30.0
_PR_SET_CHILD_SUBREAPER = 36


def full(many: float, few: float) -> Any:
    """*many* under `make live`, *few* under `make test`."""
    return many if FULL else few


def need(*programs: str) -> None:
    """Skip, saying which Debian package to install, unless all *programs* are on PATH (under CI a skip is a failure)."""
    packages = {"redis-cli": "redis-tools", "crit": "criu", "xz": "xz-utils"}
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (apt-get install {packages.get(missing[0], missing[0])})")


def need_for_tar(options: str) -> None:
    """As `need`, the programs by which tar(1) compresses with *options*."""
    programs = {"--zstd": "zstd", "--xz": "xz", "-J": "xz", "--bzip2": "bzip2", "-j": "bzip2"}
    need(*(programs[word] for word in options.split() if word in programs))


def need_root() -> None:
    """Skip without the rights to trace."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@dataclass(frozen=True)
class Ran:
    """A lamina command that has ended."""

    args: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one object."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """What a failed test should show."""
        return f"lamina {' '.join(self.args)}: status {self.status}\n{self.out}{self.err}"


def lamina_command(*args: object) -> list[str]:
    """The words that run lamina as a user would, with this interpreter."""
    return [sys.executable, "-m", "lamina.tui", *(str(arg) for arg in args)]


def lamina(*args: object, ok: bool = True, **options: Any) -> Ran:
    """Run lamina to its end. Unless *ok* is False, a failure is the test's failure, with what lamina said."""
    done = subprocess.run(
        lamina_command(*args), capture_output=True, text=True, check=False, timeout=PATIENCE_S * 4, stdin=subprocess.DEVNULL, **options
    )
    ran = Ran(tuple(str(arg) for arg in args), done.returncode, done.stdout, done.stderr)
    if ok:
        assert ran.status == 0, ran.said
    return ran


class Reaper:
    """Ends processes by pid and waits for them, also those that a restore left to us as subreaper."""

    def __init__(self) -> None:
        be_subreaper(True)
        self._pids: list[int] = []

    def watch(self, pid: int) -> None:
        """End *pid* and all below it when the test is over."""
        if pid not in self._pids:
            self._pids.append(pid)

    def end(self, pid: int) -> None:
        """Kill *pid* and all below it, and reap what is ours. Only processes that `watch` was told of may be ended."""
        tree = tree_of(pid)
        for each in tree:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        for each in tree:
            wait_gone(each)

    def end_all(self) -> None:
        """End everything that was watched."""
        for pid in reversed(self._pids):
            self.end(pid)
        self._pids.clear()
        # Other tests have other ways: what they leave behind is init's again.
        be_subreaper(False)
        reap_orphans()


def end_holders() -> None:
    """End the terminals that are held below LAMINA_STATE_DIR, by pid, and with them what runs in them: a test leaves nothing behind."""
    from lamina.tui.terminal.holders import held_terminals, terminals_dir

    for held in held_terminals():
        with suppress(ProcessLookupError):
            os.kill(held.holder, signal.SIGKILL)
        wait_gone(held.holder)
        if held.pid:
            wait_gone(held.pid)
    assert not held_terminals()
    crashes = terminals_dir() / "crash.log"
    assert not crashes.exists(), crashes.read_text()


def be_subreaper(wanted: bool) -> None:
    """Whether orphans below us become our children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def reap_orphans() -> None:
    """Collect the zombies that became ours; a subprocess.Popen of ours keeps its own."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None:
            return
        with suppress(ChildProcessError):
            os.waitpid(found.si_pid, 0)


def tree_of(pid: int) -> list[int]:
    """*pid* and all below it, that exist."""
    found: list[int] = []
    pending = [pid]
    while pending:
        each = pending.pop()
        try:
            tids = os.listdir(f"/proc/{each}/task")
            found.append(each)
            for tid in tids:
                pending += [int(child) for child in Path(f"/proc/{each}/task/{tid}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def state_letter(pid: int) -> str:
    """Its state as in proc(5), or "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether *pid* exists and has not ended."""
    return state_letter(pid) not in {"", "Z", "X"}


def states_of(pid: int) -> set[str]:
    """State letters of all threads of *pid* and below it (proc_pid_stat(5))."""
    found = set()
    for each in tree_of(pid):
        for tid in os.listdir(f"/proc/{each}/task"):
            found.add(Path(f"/proc/{each}/task/{tid}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def wait_gone(pid: int, patience: float = PATIENCE_S) -> None:
    """Wait until *pid* has ended and, if it is ours, reap it; then until its number is free."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], patience)[0], f"process {pid} does not end"
    finally:
        os.close(pidfd)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    deadline = time.monotonic() + patience
    while state_letter(pid):  # somebody else's child: its parent (or init) has to reap it, and nothing tells when
        assert time.monotonic() < deadline, f"process {pid} is not reaped"
        time.sleep(0.005)


@dataclass
class Victim:
    """A running victim and its control directory.

    Attributes:
        pid: the root of its tree; the same after every restore.
        dir: holds ask, answer, hold, out, and the files the victim writes.
        written: names of files in `dir` that the victim writes; kept per layer and put back.
    """

    pid: int
    dir: Path
    reaper: Reaper
    written: tuple[str, ...] = ()
    _kept: dict[Path, dict[str, bytes]] = field(default_factory=dict)

    def ask(self, question: str = "state", patience: float = PATIENCE_S) -> Any:
        """Its answer, from its own memory. Fails if it ends or does not answer."""
        answer = os.open(self.dir / "answer", os.O_RDONLY | os.O_NONBLOCK)
        pidfd = None
        try:
            pidfd = os.pidfd_open(self.pid)
            draft = self.dir / "ask.draft"
            draft.write_text(question + "\n")
            draft.rename(self.dir / "ask")
            text = b""
            deadline = time.monotonic() + patience
            while True:
                ready = select.select([answer, pidfd], [], [], max(0.0, deadline - time.monotonic()))[0]
                assert ready, f"process {self.pid} does not answer {question!r}: {self.stuck()}"
                if answer not in ready:
                    raise AssertionError(f"process {self.pid} has ended: {self.errors()}")
                part = os.read(answer, 65536)
                if not part and text:
                    return json.loads(text)
                text += part
        finally:
            if pidfd is not None:
                os.close(pidfd)
            os.close(answer)

    def stuck(self) -> str:
        """Where its threads are, for the message of a failed test."""
        lines = []
        with suppress(OSError):
            for tid in sorted(os.listdir(f"/proc/{self.pid}/task")):
                base = Path(f"/proc/{self.pid}/task/{tid}")
                letter = (base / "stat").read_text().rpartition(")")[2].split()[0]
                lines.append(f"{tid} {letter} {(base / 'syscall').read_text().strip()}")
        return "; ".join(lines) + " " + self.errors()

    def errors(self) -> str:
        """What it wrote to standard error."""
        return (self.dir / "out").read_text()[-2000:]

    def hold(self) -> None:
        """Loops stop at the end of their step."""
        (self.dir / "hold").touch()

    def go(self) -> None:
        """Loops go on."""
        (self.dir / "hold").unlink(missing_ok=True)

    def keep_files(self, layer: Path) -> None:
        """Keep what the victim has written, as of *layer*: cut to the sizes that the layer recorded."""
        from lamina.core.image.layer import Layer

        sizes = {os.fsdecode(entry.reg.name): entry.reg.size for entry in Layer(layer).files.values() if entry.HasField("reg")}
        self._kept[layer] = {}
        for name in self.written:
            path = self.dir / name
            if str(path) in sizes:
                self._kept[layer][name] = path.read_bytes()[: sizes[str(path)]]

    def put_back(self, layer: Path) -> None:
        """The file system is the user's: make the written files what they were at *layer*, and forget an open question."""
        for name, content in self._kept[layer].items():
            (self.dir / name).write_bytes(content)
        (self.dir / "ask").unlink(missing_ok=True)

    def end(self) -> None:
        """End it and all below it."""
        self.reaper.end(self.pid)


def build(name: str) -> Path:
    """Compile a C victim if it is not built yet."""
    source, built = VICTIMS / f"{name}.c", BUILT / name
    newest = max(source.stat().st_mtime, (VICTIMS / "control.h").stat().st_mtime)
    if not built.exists() or built.stat().st_mtime < newest:
        BUILT.mkdir(parents=True, exist_ok=True)
        # Several test processes may want it at once: none must see half of it.
        draft = BUILT / f"{name}.{os.getpid()}"
        subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", draft, source], check=True)
        draft.rename(built)
    return built


def start(reaper: Reaper, directory: Path, command: Sequence[str | Path], written: tuple[str, ...] = ()) -> Victim:
    """Start *command* + [directory] in a session of its own with plain files as standard streams, and wait for its first answer."""
    directory.mkdir(parents=True, exist_ok=True)
    os.mkfifo(directory / "answer")
    with open(directory / "out", "wb") as out:
        process = subprocess.Popen(
            [*(str(word) for word in command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=directory
        )
    # From here on the pid is reaped by `Reaper`; a Popen that is collected would reap it behind our back.
    process.returncode = 0
    reaper.watch(process.pid)
    victim = Victim(process.pid, directory, reaper, written)
    victim.ask()
    return victim


def start_c(reaper: Reaper, directory: Path, name: str, *args: object) -> Victim:
    """Start a C victim."""
    return start(reaper, directory, [build(name), str(directory), *(str(arg) for arg in args)])


def start_python(reaper: Reaper, directory: Path, name: str, written: tuple[str, ...] = ()) -> Victim:
    """Start a Python victim."""
    return start(reaper, directory, [sys.executable, VICTIMS / f"{name}.py", str(directory)], written)


@dataclass
class Layers:
    """A stack of one test: directories 1, 2, 3 … made as a user would make them."""

    path: Path
    count: int = 0

    def new(self) -> Path:
        """The next, empty directory."""
        self.count += 1
        layer = self.path / str(self.count)
        layer.mkdir(parents=True)
        return layer


def dump(victim: Victim, layer: Path, *options: object, parent: Path | None = None, last: bool = False, ok: bool = True) -> Ran:
    """Dump *victim*: with -R --track-mem, or as the *last* dump, which ends it. What it has written is kept beside."""
    args: list[object] = ["dump", "--tree", victim.pid, "--images-dir", layer, "--json", *options]
    if not last:
        args += ["--leave-running", "--track-mem"]
    if parent is not None:
        args += ["--prev-images-dir", os.path.relpath(parent, layer)]
    tree = tree_of(victim.pid)
    ran = lamina(*args, ok=ok)
    if ran.status == 0:
        victim.keep_files(layer)
        if last:
            # A parent reaps its dead child; here that is us, for the whole tree.
            for pid in tree:
                wait_gone(pid)
    return ran


def restore(victim: Victim, layer: Path, *options: object, ok: bool = True) -> Ran:
    """End *victim* if it runs, put its files back, and restore it from *layer*, detached."""
    victim.end()
    victim.put_back(layer)
    return lamina("restore", "--images-dir", layer, "--restore-detached", "--json", *options, ok=ok)


@contextmanager
def reaping() -> Iterator[Reaper]:
    """A reaper whose processes are gone at the end, also when the test failed."""
    reaper = Reaper()
    try:
        yield reaper
    finally:
        reaper.end_all()
