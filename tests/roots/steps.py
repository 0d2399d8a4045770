"""What a user of a fresh Debian does first, each as a function that does it in a root and says in a few words how it went."""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tests.roots.root import HERE, Ran, Root
from tests.tui.terminal import Terminal

# Nothing may be silent for longer while it is set up, be the machine as busy as it may: a user would think that it hangs.
SILENCE_S = 75.0
PATIENCE_S = 120.0
DIST = "/var/tmp/dist"


class Failed(Exception):
    """A step that did not go as it should."""


Step = Callable[[Root, IO[str]], str]


def named_packages() -> list[str]:
    """The packages that README names, as a user would copy them.

    Raises:
        LookupError: README has no such line.
    """
    found = re.search(r"^ +apt-get install ([a-z0-9 .+-]+)$", (HERE / "README.md").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError("README.md has no line `apt-get install …`")
    return found[1].split()


def _well(ran: Ran) -> Ran:
    if ran.status:
        raise Failed(f"status {ran.status}: {' / '.join(ran.out.split(chr(10))[-4:])[:300]}")
    return ran


def packages(root: Root, log: IO[str]) -> str:
    """Only what README names, and nothing that apt merely recommends."""
    named = named_packages()
    _well(root.run(f"apt-get update --quiet --quiet && apt-get install --yes --no-install-recommends {shlex.join(named)}", log))
    return f"{' '.join(named)}; {_well(root.run('python3 --version', log)).out.strip()}"


def build(root: Root, log: IO[str]) -> str:
    """`make build`, which says what it does meanwhile."""
    ran = _well(root.run("make build", log))
    lines = ran.out.splitlines()
    if len(lines) < 8 or ran.silence > SILENCE_S:
        raise Failed(f"shows too little: {len(lines)} lines, silent for {ran.silence:.0f} s")
    return f"{len(lines)} lines, never silent for more than {ran.silence:.0f} s"


@contextmanager
def _terminal(root: Root, script: str, log: IO[str]) -> Iterator[Terminal]:
    """A terminal outside, in which *script* runs inside and then says how it ended. tmux is no part of the root."""
    with TemporaryDirectory() as directory:
        found = Terminal(Path(directory), root.command(f"{script}; echo ended: $?"), 110, 34)
        try:
            yield found
        except AssertionError as error:
            log.write(f"{error}\n")
            raise Failed(str(error).partition("\n")[0]) from error
        finally:
            log.write(found.screen())
            found.close()


def _leave(terminal: Terminal, key: str = "q") -> None:
    terminal.press(key)
    screen = terminal.wait_for("ended: ", PATIENCE_S)
    if "ended: 0" not in screen:
        raise Failed(f"`q` ends it with {screen.split('ended: ')[1].split()[0]}")


def run(root: Root, log: IO[str]) -> str:
    """`make run` opens, shows this system's processes, and leaves by `q`."""
    with _terminal(root, "{ sleep 4711 & } && make run", log) as terminal:
        began = time.monotonic()
        terminal.wait_for("─ sleep ", PATIENCE_S)
        opened = time.monotonic() - began
        _leave(terminal)
    return f"open after {opened:.1f} s, left by q"


def demo(root: Root, log: IO[str]) -> str:
    """`make demo` to the end of its guide, by keys, as its guide says."""
    with _terminal(root, "make demo", log) as terminal:
        terminal.wait_for("press d to take the first layer", PATIENCE_S)
        terminal.press("d")
        terminal.wait_for("d again: only those are written", PATIENCE_S)
        terminal.press("d")
        terminal.wait_for("3 shows both layers", PATIENCE_S)
        terminal.press("3", "Down", "r")
        terminal.wait_for("Restore layer 1", PATIENCE_S)
        terminal.press("Right", "Right", "Enter")
        terminal.wait_for("it is back, its cells as they were", PATIENCE_S)
        terminal.press("d")
        terminal.wait_for("✓ layer 3: ", PATIENCE_S)
        _leave(terminal)
    return "two layers, back to the first, a branch, left by q"


def wheel(root: Root, log: IO[str]) -> str:
    """`python -m build`, then for each Python there is here: the wheel in a clean environment, and a dump and a restore from elsewhere."""
    maker = "/var/tmp/maker/bin"
    _well(root.run(f"python3 -m venv {maker}/.. && {maker}/pip -q install build && {maker}/python -m build --outdir {DIST} .", log))
    served = [_serves(root, "python3", log)]
    for name in root.debian.pythons:
        _well(root.run(f"apt-get install --yes --no-install-recommends {name} {name}-venv", log))
        served.append(_serves(root, name, log))
    names = _well(root.run("ls", log, DIST)).out.split()
    return f"{', '.join(names)} on {', '.join(served)}"


def _serves(root: Root, python: str, log: IO[str]) -> str:
    """What an installed lamina must do without its tree: its verbs, a dump, a restore. Returns the version it did it on."""
    script = f"""
        set -e; rm -rf /var/tmp/clean /var/tmp/S; {python} -m venv /var/tmp/clean; PATH=/var/tmp/clean/bin:$PATH; cd /
        pip -q install {DIST}/*.whl
        test "$(lamina --help | wc -l)" -gt 10
        lamina check
        mkdir -p /var/tmp/S/1; rm -f /var/tmp/pid
        setsid --fork sh -c 'echo $$ >/var/tmp/pid; exec sleep 1000' </dev/null >/dev/null 2>&1
        until test -s /var/tmp/pid; do sleep 0.1; done; pid=$(cat /var/tmp/pid)
        lamina dump --tree $pid --images-dir /var/tmp/S/1
        lamina verify /var/tmp/S
        lamina restore --images-dir /var/tmp/S/1 --restore-detached
        test "$(cat /proc/$pid/comm)" = sleep; kill $pid
        python --version
    """
    return _well(root.run(script, log, "/")).out.split()[-1]


def script(words: str, root: Root, log: IO[str]) -> str:
    """Whatever a developer wants to know of a root."""
    return _well(root.run(words, log)).out[-1000:]


def test(root: Root, log: IO[str]) -> str:
    """`make test`; what it leaves out for want of a program is said by it, and counted here."""
    ran = root.run("make test", log)
    counts = re.findall(r"^=+ (.*(?:passed|failed|error).*) in [0-9.]+s.*=+$", ran.out, re.MULTILINE)
    if ran.status:
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.out, re.MULTILINE)
        raise Failed(f"{counts[-1] if counts else 'no test ran'}: {' '.join(failed[:6])}")
    return str(counts[-1])


STEPS: dict[str, Step] = {"packages": packages, "make build": build, "make run": run, "make demo": demo, "wheel": wheel, "make test": test}
# Without these nothing that follows can work.
NEEDED = ("packages", "make build")
