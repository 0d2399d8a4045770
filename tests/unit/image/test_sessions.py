"""Sessions and groups, carried out on a model of what setsid, setpgid and fork do."""

from lamina.core.image.schema import pstree_entry
from lamina.core.image.sessions import Memberships, plan_memberships

OURS = 0


def tree(*tasks: tuple[int, int, int, int]) -> list[pstree_entry]:
    """(pid, ppid, pgid, sid) …"""
    return [pstree_entry(pid=pid, ppid=ppid, pgid=pgid, sid=sid, threads=[pid]) for pid, ppid, pgid, sid in tasks]


def carried_out(plan: Memberships) -> dict[int, tuple[int, int]]:
    """pid → (group, session), as the kernel would have them; 0 for the restorer's."""
    group: dict[int, int] = {}
    session: dict[int, int] = {}

    def make(pid: int, inherited: tuple[int, int]) -> None:
        member = plan.by_pid[pid]
        group[pid], session[pid] = inherited
        for child in member.children_before:
            make(child, (group[pid], session[pid]))
        if member.leads_session:
            assert group[pid] != pid, "EPERM: it leads a group already"
            group[pid] = session[pid] = pid
        for child in member.children_after:
            make(child, (group[pid], session[pid]))

    make(next(iter(plan.by_pid)), (OURS, OURS))
    for member in plan.in_group_order:
        assert session[member.pid] != member.pid, "EPERM: a session's leader stays in its group"
        assert member.group == member.pid or member.group in group.values(), "EPERM: no such group"
        if member.group != member.pid:
            assert session[member.group] == session[member.pid], "EPERM: a group of another session"
        group[member.pid] = member.group
    return {pid: (group[pid], session[pid]) for pid in group}


def test_a_daemon_leads_its_session_and_its_children_are_in_it() -> None:
    plan = plan_memberships(tree((10, 0, 10, 10), (11, 10, 10, 10), (12, 11, 12, 10)), shell_job=False)
    assert not plan.blockers and not plan.notices
    assert carried_out(plan) == {10: (10, 10), 11: (10, 10), 12: (12, 10)}


def test_a_child_from_before_its_parent_led_a_session_is_made_before() -> None:
    plan = plan_memberships(tree((10, 0, 10, 10), (20, 10, 20, 20), (21, 20, 10, 10), (22, 20, 20, 20)), shell_job=False)
    assert not plan.blockers
    assert plan.by_pid[20].children_before == (21,) and plan.by_pid[20].children_after == (22,)
    assert carried_out(plan) == {10: (10, 10), 20: (20, 20), 21: (10, 10), 22: (20, 20)}


def test_a_foreign_session_becomes_the_roots_own() -> None:
    plan = plan_memberships(tree((10, 0, 10, 5), (11, 10, 10, 5), (12, 10, 12, 5), (13, 12, 12, 5)), shell_job=False)
    assert not plan.blockers and "5" in plan.notices[0]
    assert carried_out(plan) == {10: (10, 10), 11: (10, 10), 12: (12, 10), 13: (12, 10)}


def test_a_foreign_group_too() -> None:
    plan = plan_memberships(tree((10, 0, 7, 5), (11, 10, 7, 5)), shell_job=False)
    assert not plan.blockers
    assert carried_out(plan) == {10: (10, 10), 11: (10, 10)}


def test_a_shell_job_joins_our_session() -> None:
    plan = plan_memberships(tree((10, 0, 10, 5), (11, 10, 10, 5), (12, 10, 12, 12)), shell_job=True)
    assert not plan.blockers
    assert carried_out(plan) == {10: (10, OURS), 11: (10, OURS), 12: (12, 12)}


def test_a_shell_job_without_job_control_is_in_our_group() -> None:
    plan = plan_memberships(tree((10, 0, 7, 5), (11, 10, 7, 5), (12, 10, 12, 5)), shell_job=True)
    assert carried_out(plan) == {10: (OURS, OURS), 11: (OURS, OURS), 12: (12, OURS)}


def test_group_leaders_move_first() -> None:
    plan = plan_memberships(tree((10, 0, 10, 10), (11, 10, 12, 10), (12, 10, 12, 10)), shell_job=False)
    assert [member.pid for member in plan.in_group_order] == [12, 11]
    assert carried_out(plan)[11] == (12, 10)


def test_sessions_nobody_can_make_are_refused() -> None:
    lost_session = plan_memberships(tree((10, 0, 10, 10), (11, 10, 11, 99)), shell_job=False)
    assert [blocker.pid for blocker in lost_session.blockers] == [11]
    lost_group = plan_memberships(tree((10, 0, 10, 10), (11, 10, 99, 10)), shell_job=False)
    assert [blocker.obj for blocker in lost_group.blockers] == ["process group 99"]
    two_sessions = plan_memberships(tree((10, 0, 10, 10), (11, 10, 11, 11), (12, 11, 10, 11)), shell_job=False)
    assert two_sessions.blockers


def test_a_group_in_another_session_is_refused() -> None:
    plan = plan_memberships(tree((10, 0, 10, 10), (11, 10, 11, 11), (12, 10, 11, 10)), shell_job=False)
    assert any("two sessions" in blocker.why for blocker in plan.blockers)
