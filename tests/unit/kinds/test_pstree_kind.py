"""The process tree as messages: real processes, their groups, sessions and parents."""

import os
import subprocess
import sys

from lamina.core.attach.procfs import read_texts, tree_of
from lamina.core.image.schema import pstree_entry
from lamina.core.kinds.task import pstree
from lamina.core.objects.task_kind import CapturedTask

PROGRAM = """
import os, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(w, b"x")
    time.sleep(1000)
if os.fork() == 0:
    os.setpgid(0, 0)
    os.write(w, b"x")
    time.sleep(1000)
zombie = os.fork()
if zombie == 0:
    os._exit(7)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
os.read(r, 1), os.read(r, 1)
print(flush=True)
input()
"""


def test_a_real_tree() -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = tree_of(process.pid)
        try:
            tasks = [CapturedTask(pid, read_texts(pid, ("stat",))) for pid in pids]
        finally:
            for pid in reversed(pids):
                os.kill(pid, 9)
    entries = [pstree_entry.FromString(entry.SerializeToString()) for entry in pstree.save(tasks)]
    root, leader, group, zombie = entries
    assert (root.pid, root.ppid, root.pgid, root.sid) == (process.pid, 0, process.pid, process.pid)
    assert (leader.ppid, leader.pgid, leader.sid) == (root.pid, leader.pid, leader.pid)
    assert (group.ppid, group.pgid, group.sid) == (root.pid, group.pid, root.pid)
    assert (zombie.ppid, zombie.pgid, zombie.sid) == (root.pid, root.pid, root.pid)
    assert [list(entry.threads) for entry in entries] == [[pid] for pid in pids]
    assert tasks[3].is_zombie
    assert tasks[3].stat.exit_code == 7 << 8
