"""The process tree: parents, process groups, sessions, threads ↔ `pstree_entry`; and how to make the same tree again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.attach.frozen import FrozenTask
from lamina.core.errors import Blocker, ImageError
from lamina.core.image.schema import pstree_entry

MAX_TASKS: Final = 1 << 22
"""PID_MAX_LIMIT of a 64-bit kernel."""


@dataclass
class Node:
    """One process of the tree.

    Attributes:
        pid, pgid, sid: as before the dump.
        threads: thread ids, the leader first; a zombie has only that one.
        parent: None for the root; children: in the order of the image.
    """

    pid: int
    pgid: int
    sid: int
    threads: tuple[int, ...]
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)

    @property
    def leads_session(self) -> bool:
        """It called setsid(2): the rebuilt one must too, before its children are made, who inherit the session."""
        return self.sid == self.pid


def save(tasks: Sequence[FrozenTask]) -> list[pstree_entry]:
    """*tasks* parents before children, the root first, whose parent is outside and written as 0."""
    entries: list[pstree_entry] = []
    for task in tasks:
        stat = task.stat
        threads = [thread.tid for thread in task.threads] or [task.pid]
        ppid = stat.ppid if entries else 0
        entries.append(pstree_entry(pid=task.pid, ppid=ppid, pgid=stat.pgrp, sid=stat.session, threads=threads))
    return entries


def load(entries: Sequence[pstree_entry]) -> Node:
    """The root of the tree, linked.

    Raises:
        ImageError: no root or several, a child before its parent, an id twice or out of range.
    """
    nodes: dict[int, Node] = {}
    seen: set[int] = set()
    for entry in entries:
        threads = tuple(entry.threads) or (entry.pid,)
        ids = {entry.pid, *threads}
        name = f"pstree entry of process {entry.pid}"
        if threads[0] != entry.pid or seen & ids or not all(0 < tid < MAX_TASKS for tid in ids) or len(ids) != len(threads):
            raise ImageError("damaged image", name, "thread ids out of range, twice, or without the leader")
        seen |= ids
        if bool(entry.ppid) != bool(nodes) or (entry.ppid and entry.ppid not in nodes):
            raise ImageError("damaged image", name, f"parent {entry.ppid} does not stand before it")
        parent = nodes.get(entry.ppid)
        node = nodes[entry.pid] = Node(entry.pid, entry.pgid, entry.sid, threads, parent)
        if parent is not None:
            parent.children.append(node)
    if not nodes:
        raise ImageError("damaged image", "pstree", "no process in it")
    return next(iter(nodes.values()))


def walk(root: Node) -> list[Node]:
    """The tree depth first, parents before children: the order in which processes are made."""
    found = [root]
    for child in root.children:
        found.extend(walk(child))
    return found


def blockers(root: Node, shell_job: bool) -> list[Blocker]:
    """Sessions and groups that cannot be made again.

    A session must be led by the process itself or inherited from its parent; a group must be led by a process of the tree in the same
    session. With *shell_job* the root takes our session and group for the ones it had outside the tree, and so do those below it.
    """
    found = []
    nodes = {node.pid: node for node in walk(root)}
    outside = root.sid not in nodes
    if outside and not shell_job:
        why = f"it belongs to session {root.sid}, of a shell or terminal that is not in the image"
        found.append(Blocker(f"session {root.sid}", why, "give --shell-job", root.pid))
    for node in nodes.values():
        inherited = node.parent.sid if node.parent is not None else root.sid if outside else root.pid
        if not node.leads_session and node.sid != inherited:
            why = f"it belongs to session {node.sid}, not to its parent's {inherited}"
            found.append(Blocker(f"session {node.sid}", why, pid=node.pid))
        leader = nodes.get(node.pgid)
        if leader is not None and leader.sid != node.sid:
            found.append(Blocker(f"process group {node.pgid}", "its leader is in another session", pid=node.pid))
        elif leader is None and not (shell_job and outside and node.sid == root.sid):
            found.append(Blocker(f"process group {node.pgid}", "its leader is not in the image", pid=node.pid))
    return found


def rebuild_session(node: Node, calls: CallList) -> None:
    """Step 6, in the leader, before its children are made."""
    if node.leads_session:
        calls.add("setsid", expect=node.pid, about="lead its session")


def rebuild_group(node: Node, root: Node, calls: CallList) -> None:
    """Step 9, in each leader, tree order: all leaders of groups first (`leads_group`), then the others; after every process exists.

    A group outside the tree (a shell's) is left as inherited.
    """
    in_tree = any(other.pid == node.pgid for other in walk(root))
    if in_tree and not node.leads_session:
        calls.add("setpgid", 0, 0 if node.pgid == node.pid else node.pgid, expect=0, about=f"join process group {node.pgid}")


def leads_group(node: Node) -> bool:
    """Whether its process group is named after it."""
    return node.pgid == node.pid
