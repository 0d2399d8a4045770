"""Boots a Debian kernel under qemu over this machine's own root file system (read-only) and runs pytest inside it.

    python -m tests.kernels.boot [--kernel 6.12] [pytest arguments]

The guest sees this clone at its own path and writes only to memory, to build/victims (what it has to compile) and to build/kernels/out,
which takes its output and exit status.
It is emulated, not virtualised: KVM hangs in nested machines, and what is tested here is the kernel, not speed.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.kernels.kernel import DEFAULT, KERNELS, ROOT, Kernel
from tests.live.harness import BUILT

OUT = ROOT / "build/kernels/out"
LIMIT_S = 3600
PYTEST = ("pytest", "-p", "no:cacheprovider", "--basetemp=/run/lamina-tests")
# program → its Debian package
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod", "file": "file", "criu": "criu", "crit": "criu",
    "gcc": "gcc", "apt-get": "apt", "dpkg-deb": "dpkg",
}  # fmt: skip


def missing_packages() -> list[str]:
    """Debian packages without which nothing boots or nothing can be tested."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return sorted({package for program, package in NEEDED.items() if shutil.which(program, path=path) is None})


def run_inside(image: Path, name: str, arguments: Sequence[str]) -> int:
    """Boot *image*, run `python -m` *arguments* in it, and return the exit status (1 if the guest never came to an end)."""
    for writable in (OUT, BUILT):
        writable.mkdir(parents=True, exist_ok=True)
    status, booted, output = OUT / "status", OUT / "booted", OUT / "output"
    for file in (status, booted, output):
        file.unlink(missing_ok=True)
    output.touch()
    # vng may hand its open serial ports (3-9) to what it starts: a dump would find them. setsid: the console is no terminal of ours.
    inside = f"""
        exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
        touch {booted}
        export LAMINA_KERNEL={shlex.quote(name)} LAMINA_OUT={OUT} CI={os.environ.get("CI", "")} PYTHONDONTWRITEBYTECODE=1 COLUMNS=150
        modprobe -a unix_diag inet_diag tcp_diag udp_diag netlink_diag af_packet_diag
        ip link set lo up
        cd {ROOT}
        setsid --wait {sys.executable} -m {shlex.join(arguments)} </dev/null >{output} 2>&1
        echo $? > {status}
    """
    script = OUT / "inside.sh"
    script.write_text(inside)
    vng = Path(sys.executable).with_name("vng")
    command = [
        str(vng), "--disable-kvm", "--disable-microvm", "--run", str(image), "--cpus", "2", "--memory", "3G", "--user", "root",
        f"--rwdir={OUT}", f"--rwdir={BUILT}", "--exec", f"sh {script}",
    ]  # fmt: skip
    began = time.monotonic()
    # A session of its own: everything it starts is ended with it, and nothing else.
    console = (OUT / "console").open("wb")
    machine = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=console,
        start_new_session=True,
        env=os.environ | {"PATH": f"{vng.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"},
    )
    with console, output.open("rb") as told:
        try:
            while machine.poll() is None and time.monotonic() - began < LIMIT_S:
                with suppress(subprocess.TimeoutExpired):
                    machine.wait(0.3)
                sys.stdout.write(told.read().decode(errors="replace"))
                sys.stdout.flush()
        finally:
            if machine.poll() is None:
                print(f"kernels: the guest was ended after {time.monotonic() - began:.0f} s", file=sys.stderr)
                os.killpg(machine.pid, signal.SIGKILL)
                machine.wait()
    if not booted.exists():
        print(f"kernels: the guest did not come up; its console is in {OUT / 'console'}", file=sys.stderr)
        return 1
    up = booted.stat().st_mtime - (time.time() - (time.monotonic() - began))
    print(f"kernels: {name} was up after {up:.0f} s, all took {time.monotonic() - began:.0f} s", flush=True)
    return int(status.read_text()) if status.exists() else 1


def main() -> int:
    """Boot what was asked for, one after another."""
    parser = argparse.ArgumentParser(prog="make kernels", description=__doc__)
    parser.add_argument("--kernel", action="append", choices=KERNELS, help="which (default: %(default)s)")
    parser.add_argument("--make-corpus", action="store_true", help="make the sets of tests/corpus anew, into build/kernels/out/corpus")
    options, arguments = parser.parse_known_args()
    if missing := missing_packages():
        print(f"kernels: apt-get install --no-install-recommends {' '.join(missing)}", file=sys.stderr)
        return 1
    worst = 0
    for name in options.kernel or DEFAULT:
        kernel: Kernel = KERNELS[name]
        try:
            image = kernel.unpacked()
        except (LookupError, subprocess.CalledProcessError) as error:
            print(f"kernels: {error}", file=sys.stderr)
            return 1
        inside = ["tests.corpus.make", str(OUT / "corpus")] if options.make_corpus else [*PYTEST, *(arguments or ["tests/kernels"])]
        worst = max(worst, run_inside(image, image.name.removeprefix("vmlinuz-"), inside))
    return worst


if __name__ == "__main__":
    sys.exit(main())
