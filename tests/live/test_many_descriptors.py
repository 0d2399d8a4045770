"""Programs with many descriptors: more than 1,024 are tracked, and a restore needs hardly more than the program had."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.live.harness import Layers, Reaper, lamina, lamina_command, wait_gone

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# Half of them are pipes, all ends in the program: what took three of ours for each.
MANY = min(6000, HARD - 100 if HARD > 0 else 6000)
PROGRAM = f"""
import os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, ({MANY + 10}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept = [os.pipe() for _ in range({MANY // 4})]
for number, (_, writing) in enumerate(kept): os.write(writing, b'%d' % number)
kept += [os.open('/dev/null', os.O_RDWR) for _ in range({MANY} - 2 * len(kept) - 3)]
open('ready', 'w').close()
while not os.path.exists('go'): time.sleep(0.02)
answers = [os.read(reading, 99) == b'%d' % number for number, (reading, _) in enumerate(kept[:{MANY // 4}])]
open('answer.tmp', 'w').write(str(all(answers) and len(os.listdir('/proc/self/fd')) - 1))
os.rename('answer.tmp', 'answer')
"""


def test_dump_track_and_restore(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    program.returncode = 0
    reaper.watch(program.pid)
    pidfd = os.pidfd_open(program.pid)
    while not (tmp_path / "ready").exists():
        assert Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    os.close(pidfd)
    first, second = layers.new(), layers.new()
    ran = lamina("dump", "-t", program.pid, "-D", first, "-R", "--track-mem", "--json")
    assert ran.json["tracker"] == "uffd-wp async", ran.said
    ran = lamina("dump", "-t", program.pid, "-D", second, "--prev-images-dir", "../1", "--json")
    assert ran.json["stats"]["pages_skipped_parent"] > ran.json["stats"]["pages_written"], ran.said
    wait_gone(program.pid)

    def limited(most: int) -> "subprocess.CompletedProcess[str]":
        words = ["prlimit", f"--nofile=256:{most}", *lamina_command("restore", "-D", second, "-d")]
        return subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    refused = limited(MANY - 500)
    assert refused.returncode == 1 and "are needed, and" in refused.stderr and "ulimit -Hn" in refused.stderr, refused.stderr
    done = limited(MANY + MANY // 2 + 100)
    assert done.returncode == 0 or "RLIMIT_NOFILE: its hard limit" in done.stderr, done.stderr
    if done.returncode:  # our own hard limit must not be below the program's where it cannot be raised
        lamina("restore", "-D", second, "-d")
    (tmp_path / "go").touch()
    wait_gone(program.pid)
    assert (tmp_path / "answer").read_text() == str(MANY + 1)
