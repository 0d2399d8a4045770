"""The first process of a root: makes its mounts, makes it the root of its namespace, then only reaps, as any first process must.

python -m tests.roots.first FOLDER        # in a mount and pid namespace of its own; says "ready" and stays
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress


def mount(*words: str) -> None:
    """mount(8)."""
    subprocess.run(["mount", *words], check=True)


def enter(folder: str) -> None:
    """Make *folder* the root directory of this mount namespace."""
    mount("--make-rprivate", "/")
    # pivot_root wants a mount, and criu wants to see its root as one.
    mount("--bind", folder, folder)
    os.chdir(folder)
    mount("-t", "proc", "proc", "proc")
    mount("--rbind", "/sys", "sys")
    mount("--rbind", "/dev", "dev")
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", "dev/shm")
    mount("-t", "tmpfs", "-o", "mode=755", "run", "run")
    os.makedirs("outside", exist_ok=True)
    subprocess.run(["pivot_root", ".", "outside"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/outside"], check=True)
    os.rmdir("/outside")


def reap() -> None:
    """For ever."""
    while True:
        signal.sigwait({signal.SIGCHLD})
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    enter(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    print("ready", flush=True)
    reap()
