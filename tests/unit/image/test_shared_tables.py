"""Who clones whom, so that those who shared a table share one again."""

import ctypes
import errno

import pytest

from lamina.core.image.shared_tables import CLONE_PARENT, Relative, groups_of, plan_origins

# 1 has the children 2, 3 and 4; 3 has the child 5.
FAMILY = [Relative(1, 0, 1), Relative(2, 1, 1), Relative(3, 1, 1), Relative(5, 3, 1), Relative(4, 1, 1)]
Groups = dict[int, int]


def origins(files: Groups, fs: Groups) -> dict[int, tuple[int, int]]:
    made, refused = plan_origins(FAMILY, {"files": files, "fs": fs})
    assert set(made) | set(refused) == {one.pid for one in FAMILY} and not set(made) & set(refused)
    return {pid: (origin.cloner, origin.flags) for pid, origin in made.items() if origin.flags}


def test_nobody_shares() -> None:
    assert origins({}, {}) == {}


def test_children_that_share_with_their_parent() -> None:
    assert origins({2: 1, 3: 1}, {3: 1, 5: 1}) == {2: (0, 0x400), 3: (0, 0x600), 5: (0, 0x200)}


def test_siblings_share_what_their_parent_has_not() -> None:
    assert origins({4: 2}, {}) == {4: (2, 0x400 | CLONE_PARENT)}
    assert origins({4: 2}, {2: 1, 3: 1, 4: 1}) == {2: (0, 0x200), 3: (0, 0x200), 4: (2, 0x600 | CLONE_PARENT)}


@pytest.mark.parametrize(
    ("files", "fs", "pid"),
    [
        ({5: 1}, {}, 5),  # a grandparent's
        ({5: 2}, {}, 5),  # an uncle's
        ({4: 2}, {4: 3}, 4),  # of two siblings
        ({4: 2}, {4: 1}, 4),  # of a sibling and of the parent
    ],
)
def test_what_no_clone_gives(files: Groups, fs: Groups, pid: int) -> None:
    made, refused = plan_origins(FAMILY, {"files": files, "fs": fs})
    assert set(refused) == {pid} and pid not in made
    assert "neither its parent nor an older sibling" in refused[pid]


def test_a_sibling_of_another_session_gives_its_session_too() -> None:
    family = [Relative(1, 0, 1), Relative(2, 1, 2), Relative(3, 1, 1)]
    assert set(plan_origins(family, {"files": {3: 2}, "fs": {}})[1]) == {3}


def test_equal_numbers_are_one_group() -> None:
    assert groups_of({7: 3, 8: 4, 9: 3}) == {7: 7, 8: 8, 9: 7}


@pytest.mark.parametrize("flags", [0x800, 0x10000, 0x10800])
def test_signal_actions_are_not_shared_without_memory(flags: int) -> None:
    """clone(2): CLONE_SIGHAND and CLONE_THREAD without CLONE_VM are EINVAL, so there is nothing more to share."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(56, flags | 17, 0, 0, 0, 0) == -1
    assert ctypes.get_errno() == errno.EINVAL
