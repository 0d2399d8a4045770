"""Plans the sessions and process groups of a tree: which process calls setsid(2) and setpgid(2), and which children must exist before that.

A session can only be inherited, or created by its leader. A session or group whose leader is not in the tree cannot be joined again: its
members get a session of the root's own instead, or ours for a shell job.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lamina.core.errors import Blocker
from lamina.core.image.schema import pstree_entry


@dataclass(frozen=True)
class Membership:
    """What one process does to be in its session and group.

    Attributes:
        pid: the process.
        children_before: its children that must be made before it leads its session (or always, if it leads none).
        leads_session: whether it calls setsid.
        children_after: its children that inherit the session it leads.
        group: the group it moves to by setpgid once all processes exist, 0 if it is in the right one already.
        final_group: the group it ends up in; 0: the restorer's.
        final_session: its session; 0: the restorer's.
    """

    pid: int
    children_before: tuple[int, ...]
    leads_session: bool
    children_after: tuple[int, ...]
    group: int
    final_group: int
    final_session: int


@dataclass(frozen=True)
class Memberships:
    """A whole tree's, by pid.

    Attributes:
        by_pid: one for each process, parents first.
        blockers: sessions and groups that cannot be made again.
        notices: what will be different from before.
    """

    by_pid: dict[int, Membership]
    blockers: tuple[Blocker, ...]
    notices: tuple[str, ...]

    @property
    def in_group_order(self) -> list[Membership]:
        """Those that move to a group, leaders of groups first: a group must exist before others join it."""
        moving = [member for member in self.by_pid.values() if member.group]
        return sorted(moving, key=lambda member: member.group != member.pid)


# What becomes of the session of a shell job; how a notice about it ends.
OURS = "ours, with our terminal"


def plan_memberships(tasks: Sequence[pstree_entry], shell_job: bool) -> Memberships:
    """Plan for *tasks*, as in a layer (parents before children). With *shell_job* the root stays in the restorer's session."""
    root = tasks[0]
    pids = {task.pid for task in tasks}
    children: dict[int, list[int]] = {pid: [] for pid in pids}
    for task in tasks[1:]:
        children[task.ppid].append(task.pid)
    entry = {task.pid: task for task in tasks}
    foreign_session = root.sid not in pids
    stand_in = 0 if shell_job else root.pid
    blockers: list[Blocker] = []
    by_pid: dict[int, Membership] = {}
    notices = []
    if foreign_session:
        what = OURS if shell_job else "a session of its own"
        notices.append(f"session {root.sid}, led by a process outside the tree, becomes {what}")

    def session_of(task: pstree_entry) -> int:
        return stand_in if foreign_session and task.sid == root.sid else task.sid

    def group_of(task: pstree_entry) -> int:
        if task.pgid in pids:
            return task.pgid
        if task.pgid == root.pgid:
            return stand_in
        blockers.append(Blocker(f"process group {task.pgid}", "its leader is not in the tree", pid=task.pid))
        return stand_in

    # Process, and the session and group that it inherits, 0 for the restorer's. Without recursion: a tree may be deep.
    pending = [(root.pid, 0, 0)]
    while pending:
        pid, session, group = pending.pop()
        task = entry[pid]
        wanted, inherited = session_of(task), (session, group)
        leads = wanted == pid
        if leads:
            session = group = pid
        elif wanted != session:
            blockers.append(Blocker(f"session {task.sid}", "its leader is not among its ancestors", pid=pid))
        before = [child for child in children[pid] if leads and session_of(entry[child]) not in (child, pid)]
        early = frozenset(before)
        after = [child for child in children[pid] if child not in early]
        wanted_group = group_of(task)
        if wanted_group != group and leads:
            blockers.append(Blocker(f"process group {task.pgid}", "a session's leader cannot leave its group", pid=pid))
        by_pid[pid] = Membership(
            pid, tuple(before), leads, tuple(after), wanted_group if wanted_group != group else 0, wanted_group, wanted
        )
        pending += [(child, session, group) for child in reversed(after)]
        pending += [(child, *inherited) for child in reversed(before)]
    for member in by_pid.values():
        leader = by_pid.get(member.final_group)
        if leader and leader.final_session != member.final_session:
            blockers.append(Blocker(f"process group {member.final_group}", "it spans two sessions", pid=member.pid))
    return Memberships(by_pid, tuple(blockers), tuple(notices))
