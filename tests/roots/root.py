"""A minimal Debian in a folder: made by debootstrap, entered with namespaces of its own, removed again.

Its mounts are made in a mount namespace that nobody else sees and that ends with the first process in it. So whoever removes the folder
from outside meets plain files only, even if this program was killed. `remove` looks all the same.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

HERE = Path(__file__).resolve().parents[2]
ROOTS = HERE / "build/roots"
# Where packages come from is this machine's business; a root asks the same places.
SOURCES = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/apt/apt.conf.d", "/etc/apt/auth.conf.d", "/etc/resolv.conf", "/etc/hosts")
# The authorities this machine trusts, for pip: the root's own list, if a package brings one, may lack that of a mirror or proxy.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
THEIR_PLACE = "/etc/ssl/trusted-outside.pem"
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TREE = "/root/lamina"


@dataclass(frozen=True)
class Debian:
    """A release.

    Attributes:
        suite: what debootstrap calls it.
        name: what people call it.
        pythons: packages of other Pythons than its python3, which the wheel must serve, too.
        steps: which steps are taken in it; none named: all.
    """

    suite: str
    name: str
    pythons: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """A command that has ended in a root.

    Attributes:
        status: its exit status; out: what it said, both streams.
        seconds: how long it took; silence: the longest time it said nothing, seconds.
    """

    status: int
    out: str
    seconds: float
    silence: float


def mirror() -> str:
    """Where this machine gets Debian's packages: the first source that is Debian's and not only its security updates.

    Raises:
        LookupError: apt has none.
    """
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"], capture_output=True, text=True, check=True
    ).stdout
    for line in sorted(set(asked.splitlines())):
        origin, label, address = line.split(maxsplit=2)
        if (origin, label) == ("Debian", "Debian"):
            return address
    raise LookupError("apt has no source of Debian packages (apt-get update)")


class Root:
    """One root, from `make` to `remove`; inside `with` it can be entered."""

    def __init__(self, debian: Debian) -> None:
        self.debian = debian
        self.path = ROOTS / debian.suite
        self._holder: subprocess.Popen[str] | None = None
        self._first = 0

    # -- the folder ----------------------------------------------------------------------------------------------------------------

    def make(self, log: IO[str]) -> str:
        """A fresh minimal system (debootstrap's minbase) with this machine's package sources, and a copy of this tree.

        Raises:
            subprocess.CalledProcessError: debootstrap failed; *log* has what it said.
        """
        self.remove()
        archives = ROOTS / "debs"
        archives.mkdir(parents=True, exist_ok=True)
        words = ["debootstrap", "--variant=minbase", f"--cache-dir={archives}", self.debian.suite, str(self.path), mirror()]
        if not Path(f"/usr/share/debootstrap/scripts/{self.debian.suite}").exists():
            words.append("/usr/share/debootstrap/scripts/sid")  # a release newer than this debootstrap
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"PATH": PATH, "LC_ALL": "C"})
        for name in SOURCES:
            source, target = Path(name), self.path / name[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, ignore=lambda _, names: [n for n in names if "docker" in n])
            elif source.exists():
                shutil.copy(source, target, follow_symlinks=True)
        if CERTIFICATES.exists():
            (self.path / "etc/ssl").mkdir(parents=True, exist_ok=True)
            shutil.copy(CERTIFICATES, self.path / THEIR_PLACE[1:])
        self.copy_tree()
        used = subprocess.run(["du", "-sm", "--one-file-system", self.path], capture_output=True, text=True, check=True).stdout
        return f"{used.split()[0]} MB, with a copy of this tree"

    def copy_tree(self) -> str:
        """What git knows and what is new, as a clone would have it: nothing that was built here. Nothing else is in its user's home."""
        shutil.rmtree(self.path / "root", ignore_errors=True)
        listed = subprocess.run(
            ["git", "-C", HERE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True
        ).stdout
        for name in filter(None, listed.decode().split("\0")):
            source, target = HERE / name, self.path / TREE[1:] / name
            if os.path.lexists(source):  # else removed, and not yet committed so
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        return TREE

    def remove(self) -> None:
        """Remove the folder, if it is there.

        Raises:
            OSError: something is mounted in it, as seen from here: then nothing is removed.
        """
        if not self.path.exists():
            return
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        if inside := [mount for mount in mounts if Path(mount).is_relative_to(self.path)]:
            raise OSError(f"{inside[0]} is a mount: unmount it (umount {inside[0]}), then try again")
        subprocess.run(["rm", "--recursive", "--force", "--one-file-system", "--", self.path], check=True)

    # -- inside --------------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start its first process, with namespaces of its own for mounts, pids, System V objects and the host name."""
        words = [
            "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL",
            sys.executable, "-m", "tests.roots.first", str(self.path),
        ]  # fmt: skip
        self._holder = subprocess.Popen(words, cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self.__exit__()
            raise OSError(f"the root {self.path} cannot be entered")
        holder = self._holder.pid
        self._first = int(Path(f"/proc/{holder}/task/{holder}/children").read_text().split()[0])
        return self

    def __exit__(self, *_: object) -> None:
        """End everything in it; its mounts go with it."""
        if self._holder is not None:
            with suppress(ProcessLookupError):
                self._holder.kill()
            self._holder.wait()
            # The kernel ends a pid namespace with its first process, and its mounts when the last one is gone.
            deadline = time.monotonic() + 30
            while self._first and Path(f"/proc/{self._first}").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            self._holder = None

    def command(self, script: str, directory: str = TREE) -> list[str]:
        """The words that run *script* by sh in it, from outside: with a clean environment, as after a login."""
        told = {name: os.environ[name] for name in (*PASSED_ON, *map(str.upper, PASSED_ON)) if name in os.environ}
        told |= {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "screen-256color", "DEBIAN_FRONTEND": "noninteractive"}
        if CERTIFICATES.exists():
            told["PIP_CERT"] = THEIR_PLACE
        return [
            "nsenter", f"--target={self._first}", "--mount", "--pid", "--ipc", "--uts",
            "env", "--ignore-environment", *(f"{name}={value}" for name, value in told.items()),
            "sh", "-c", f"cd {shlex.quote(directory)} && {script}",
        ]  # fmt: skip

    def run(self, script: str, log: IO[str], directory: str = TREE) -> Ran:
        """Run *script* to its end; what it says goes to *log*, line by line."""
        log.write(f"$ {script}\n")
        log.flush()
        began = last = time.monotonic()
        silence, lines = 0.0, []
        with subprocess.Popen(
            self.command(script, directory), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        ) as ran:  # fmt: skip
            assert ran.stdout is not None
            for line in ran.stdout:
                now = time.monotonic()
                silence, last = max(silence, now - last), now
                lines.append(line)
                log.write(line)
                log.flush()
        now = time.monotonic()
        return Ran(ran.returncode, "".join(lines), now - began, max(silence, now - last))
