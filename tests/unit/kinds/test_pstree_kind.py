"""The process tree as messages and back; sessions and groups that can and cannot be made again."""

import pytest

from lamina.core.attach.calls import CallList
from lamina.core.attach.frozen import FrozenTask
from lamina.core.attach.procfs import read_stat
from lamina.core.errors import ImageError
from lamina.core.image.schema import pstree_entry
from lamina.core.kinds import pstree


def entry(pid: int, ppid: int, pgid: int, sid: int, *threads: int) -> pstree_entry:
    return pstree_entry(pid=pid, ppid=ppid, pgid=pgid, sid=sid, threads=threads or (pid,))


TREE = [entry(10, 0, 10, 10, 10, 13), entry(11, 10, 11, 10), entry(12, 10, 12, 12), entry(14, 11, 11, 10)]


def test_load_links_parents_and_children() -> None:
    root = pstree.load([pstree_entry.FromString(e.SerializeToString()) for e in TREE])
    assert [node.pid for node in pstree.walk(root)] == [10, 11, 14, 12]
    assert root.threads == (10, 13)
    assert [node.pid for node in pstree.walk(root) if node.leads_session] == [10, 12]
    assert not pstree.blockers(root, shell_job=False)


def test_our_own_process_is_saved_as_root() -> None:
    import os

    pid = os.getpid()
    task = FrozenTask(pid, read_stat(pid), {})
    (saved,) = pstree.save([task])
    assert (saved.pid, saved.ppid, saved.pgid, saved.sid) == (pid, 0, os.getpgid(0), os.getsid(0))
    assert list(saved.threads) == [pid]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry(10, 5, 10, 10)],
        [entry(10, 0, 10, 10), entry(11, 0, 10, 10)],
        [entry(10, 0, 10, 10), entry(11, 12, 10, 10), entry(12, 10, 10, 10)],
        [entry(10, 0, 10, 10), entry(10, 10, 10, 10)],
        [entry(10, 0, 10, 10, 11, 10)],
        [entry(10, 0, 10, 10, 10, 10)],
        [entry(10, 0, 10, 10, 10, 11), entry(11, 10, 10, 10)],
        [entry(1 << 22, 0, 10, 10)],
    ],
)
def test_damaged_trees(entries: list[pstree_entry]) -> None:
    with pytest.raises(ImageError):
        pstree.load(entries)


def test_a_shell_job_needs_the_option() -> None:
    root = pstree.load([entry(10, 0, 10, 5), entry(11, 10, 10, 5), entry(12, 10, 12, 12)])
    reasons = [str(blocker) for blocker in pstree.blockers(root, shell_job=False)]
    assert any("--shell-job" in reason for reason in reasons)
    assert not pstree.blockers(root, shell_job=True)
    in_shells_group = pstree.load([entry(10, 0, 7, 5), entry(11, 10, 7, 5)])
    assert not pstree.blockers(in_shells_group, shell_job=True)


def test_what_cannot_be_made_again() -> None:
    lost_session = pstree.load([entry(10, 0, 10, 10), entry(11, 10, 11, 9)])
    assert "session 9" in str(pstree.blockers(lost_session, shell_job=False)[0])
    lost_leader = pstree.load([entry(10, 0, 10, 10), entry(11, 10, 9, 10)])
    assert "leader is not in the image" in str(pstree.blockers(lost_leader, shell_job=False)[0])
    crossed = pstree.load([entry(10, 0, 10, 10), entry(11, 10, 11, 11), entry(12, 10, 11, 10)])
    assert "another session" in str(pstree.blockers(crossed, shell_job=False)[0])


def test_calls_for_sessions_and_groups() -> None:
    root = pstree.load(TREE)
    made: dict[int, list[tuple[str, tuple[object, ...]]]] = {}
    for node in pstree.walk(root):
        calls = CallList()
        pstree.rebuild_session(node, calls)
        pstree.rebuild_group(node, root, calls)
        made[node.pid] = [(call.name, call.args) for call in calls.calls]
    assert made == {10: [("setsid", ())], 11: [("setpgid", (0, 0))], 14: [("setpgid", (0, 11))], 12: [("setsid", ())]}
    outside = pstree.load([entry(10, 0, 7, 5)])
    calls = CallList()
    pstree.rebuild_group(outside, outside, calls)
    assert not calls.calls
