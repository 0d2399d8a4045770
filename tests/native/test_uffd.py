"""lm_uffd_* and the tracker built on them: what is reported of a real process, to the page, and what stays in it."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamina.core.attach.calls import Inside
from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import fds_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.dirty import made, state
from lamina.core.dirty.choice import capability_for, choose_tracker, probe
from lamina.core.dirty.copy import WarmBuffer, copy_runs
from lamina.core.dirty.held import Whose, fetch, held_uffds, leftovers, take_over
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.dirty.uffd_wp import UffdTracker
from lamina.core.dirty.untracked import UntrackedTracker
from lamina.core.errors import NativeError, TargetError
from lamina.core.ffi import C, check, ffi, new_error
from tests.native.memory_victim import (
    MADV_COLLAPSE,
    MADV_DONTNEED,
    MADV_FREE,
    MIB,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    Victim,
    own_fds,
    own_rss,
    victim_in,
)

pytestmark = pytest.mark.skipif(not probe().available, reason=f"no {probe().name}: {probe().reason}")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with victim_in(tmp_path) as found:
        yield found


def remember(victim: Victim, fd: int, ino: int) -> None:
    state.store(state.TargetState(victim.identity, uffd_fd=fd, uffd_ino=ino))


def tracker_of(victim: Victim) -> UffdTracker:
    return UffdTracker(victim.identity, lambda fd, ino: remember(victim, fd, ino))


def frozen(pid: int, act: object, *args: object) -> object:
    """Run act(inside, areas) on the tracer thread while *pid* is frozen."""

    def work() -> object:
        with FrozenTree(pid) as tree:
            process = tree.processes[0]
            tree.prepare_scratch(process)
            assert callable(act)
            return act(process.leader, process.areas, *args)

    return tracer().call(work)


@contextmanager
def armed(victim: Victim) -> Iterator[UffdTracker]:
    with tracker_of(victim) as tracker:
        frozen(victim.pid, tracker.arm)
        yield tracker


def changed_in(tracker: UffdTracker, victim: Victim, address: int, size: int) -> PageRuns:
    return tracker.protect(victim.areas(), live=True).changed.clip(address, address + size)


# -- in the target -------------------------------------------------------------------------------------------------------------------


def test_probe_works_here_and_costs_little() -> None:
    errnum, err = ffi.new("int32_t *"), new_error()
    assert check(C.lm_uffd_probe(errnum, err), err) == C.LM_UFFD_WORKS
    fds, rss = own_fds(), own_rss()
    for _ in range(300):
        assert check(C.lm_uffd_probe(errnum, err), err) == C.LM_UFFD_WORKS
    assert own_fds() == fds
    assert own_rss() - rss < 2 * MIB


def test_the_descriptor_takes_the_highest_free_number_and_nothing_else_stays(victim: Victim) -> None:
    before_fds, before_maps = fds_of(victim.pid), [(area.start, area.end) for area in victim.areas()]
    with armed(victim) as tracker:
        assert tracker.uffd_fd == 1023
        assert fds_of(victim.pid) == [*before_fds, 1023]
        flags = int(Path(f"/proc/{victim.pid}/fdinfo/1023").read_text().split("flags:")[1].split()[0], 8)
        assert flags & os.O_CLOEXEC
        frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
    assert fds_of(victim.pid) == before_fds
    assert [(area.start, area.end) for area in victim.areas()] == before_maps
    assert " uw" not in Path(f"/proc/{victim.pid}/smaps").read_text()


def test_a_low_limit_and_a_full_table(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    with victim_in(tmp_path) as victim:
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (16, old[1]))
        with armed(victim) as tracker:
            assert tracker.uffd_fd == 15
            frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
        highest = max(fds_of(victim.pid))
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (highest + 2, old[1]))
        with armed(victim) as tracker:
            assert tracker.uffd_fd == highest + 1  # the only free one
            frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (highest + 1, old[1]))
        with tracker_of(victim) as tracker, pytest.raises(TargetError, match="none of its"):
            frozen(victim.pid, tracker.arm)
        assert victim.ask("read", victim.map(PAGE), 1, PAGE) == 0


# -- exactness -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small", "huge"])
def test_writes_are_seen_to_the_page_and_reported_once(victim: Victim, kind: str) -> None:
    address = victim.map(32 * MIB, kind)
    everything = victim.write(address, 8192)
    with armed(victim) as tracker:
        assert changed_in(tracker, victim, address, 32 * MIB) == everything
        assert not changed_in(tracker, victim, address, 32 * MIB)
        for value in range(5):
            written = victim.write(address + value * PAGE, 40, 193 * PAGE + 8, value)
            report = tracker.protect(victim.areas(), live=value % 2 == 0)
            assert report.changed.clip(address, address + 32 * MIB) == written
            assert report.clean.clip(address, address + 32 * MIB) == everything - written
            assert not report.untracked.clip(address, address + 32 * MIB)


def test_peek_consumes_nothing_and_unprotect_gives_back(victim: Victim) -> None:
    address = victim.map(4 * MIB)
    victim.write(address, 1024)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        written = victim.write(address, 100, 3 * PAGE)
        for _ in range(2):
            assert tracker.peek(victim.areas()).changed.clip(address, address + 4 * MIB) == written
        consumed = tracker.protect(victim.areas(), live=True).changed
        assert consumed.covers(written)
        tracker.unprotect(consumed)
        assert tracker.peek(victim.areas()).changed.covers(consumed)
        # Runs may span areas that came, went or were never registered: the rest is given back nevertheless.
        tracker.protect(victim.areas(), live=True)
        tracker.unprotect(PageRuns.of([(PAGE, (1 << 47) - PAGE)]))
        assert tracker.peek(victim.areas()).changed.covers(consumed)


def test_dropped_pages_do_not_come_back(victim: Victim) -> None:
    address = victim.map(4 * MIB)
    victim.write(address, 1024)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        victim.ask("advise", address, 512 * PAGE, MADV_DONTNEED)
        report = tracker.protect(victim.areas(), live=True)
        half = PageRuns.of([(address + 512 * PAGE, address + MIB * 4)])
        assert report.present.clip(address, address + 4 * MIB) == half
        victim.ask("read", address, 10, PAGE)
        report = tracker.protect(victim.areas(), live=True)
        assert report.zero.clip(address, address + 4 * MIB).pages == 10
        assert report.data.clip(address, address + 4 * MIB) == half
        # MADV_FREE: the content stays until it is reclaimed, and is right either way.
        victim.ask("advise", address + 512 * PAGE, 8 * PAGE, MADV_FREE)
        written = victim.write(address + 513 * PAGE)
        assert changed_in(tracker, victim, address, 4 * MIB) == written


def test_a_private_file_area_dropped_after_a_write_is_the_files_again(victim: Victim, tmp_path: Path) -> None:
    """The one lost change found in private memory: the page shows as swapped and unwritten, but its content went back to the file's."""
    backing = tmp_path / "backing"
    backing.write_bytes(b"f" * 16 * PAGE)
    address = victim.ask("file", backing, 16 * PAGE, "private")
    with armed(victim) as tracker:
        written = victim.write(address, 16)
        report = tracker.protect(victim.areas(), live=True)
        assert report.changed.clip(address, address + 16 * PAGE) == written
        assert tracker.protect(victim.areas(), live=True).clean.clip(address, address + 16 * PAGE) == written
        victim.ask("advise", address, 8 * PAGE, MADV_DONTNEED)
        for _ in range(2):
            report = tracker.protect(victim.areas(), live=True)
            assert report.clean.clip(address, address + 16 * PAGE) == written.clip(address + 8 * PAGE, address + 16 * PAGE)
            # Without privilege a marker looks like swap: the page is written to the layer, which is right as well.
            assert os.geteuid() != 0 or not report.changed.clip(address, address + 16 * PAGE)
            assert victim.ask("read", address, 8, PAGE) == 8 * ord("f")
        again = victim.write(address + 2 * PAGE)
        assert changed_in(tracker, victim, address, 16 * PAGE).covers(again)


def test_moved_memory_is_changed_as_a_whole(victim: Victim) -> None:
    address = victim.map(4 * MIB)
    victim.write(address, 1024)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        moved = victim.ask("move", address, 4 * MIB, 4 * MIB)
        report = tracker.protect(victim.areas(), live=True)
        whole = PageRuns.of([(moved, moved + 4 * MIB)])
        assert report.changed.clip(moved, moved + 4 * MIB) == whole
        assert report.untracked.clip(moved, moved + 4 * MIB) == whole
        assert not report.present.clip(address, address + 4 * MIB)
        tracker.extend(victim.areas())
        report = tracker.protect(victim.areas(), live=True)
        assert report.changed.clip(moved, moved + 4 * MIB) == whole
        assert not report.untracked.clip(moved, moved + 4 * MIB)
        assert not changed_in(tracker, victim, moved, 4 * MIB)
        assert victim.ask("read", moved, 1024, PAGE) == 1024


def test_memory_mapped_anew_at_the_same_place_is_new(victim: Victim) -> None:
    address = victim.map(MIB)
    victim.write(address, 256)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        assert victim.ask("remap", address, MIB) == address
        written = victim.write(address, 3)
        assert changed_in(tracker, victim, address, MIB) == written
        tracker.extend(victim.areas())
        assert changed_in(tracker, victim, address, MIB) == written
        assert not changed_in(tracker, victim, address, MIB)


def test_growth_in_place_of_heap_and_area(victim: Victim) -> None:
    address = victim.map(MIB)
    victim.write(address, 256)
    heap = victim.ask("brk", 4 * MIB)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        assert victim.ask("grow", address, MIB, 2 * MIB) == address
        assert victim.ask("brk", 4 * MIB) == heap + 4 * MIB
        grown = victim.write(address + MIB, 10) | victim.write(heap + 4 * MIB + PAGE, 10, 7 * PAGE)
        tracker.extend(victim.areas())
        report = tracker.protect(victim.areas(), live=True)
        assert report.changed.covers(grown)
        assert not changed_in(tracker, victim, address, 2 * MIB)
        # A registered area is registered whole: the program's own mremap of all of it still works.
        assert victim.ask("move", address, 2 * MIB, 3 * MIB) > 0


def test_an_area_that_grew_since_it_was_looked_at_is_registered_whole(victim: Victim) -> None:
    """Half a registered area would make the program's own mremap of the whole fail."""
    with armed(victim) as tracker:
        for _ in range(20):
            grown = victim.map(MIB)
            stale = victim.areas()
            assert victim.ask("grow", grown, MIB, 2 * MIB) == grown
            tracker.extend(stale)
            assert victim.area(grown).size == 2 * MIB
            assert not tracker.refused
            written = victim.write(grown, 512)
            report = tracker.protect(victim.areas(), live=True)
            assert report.changed.clip(grown, grown + 2 * MIB) == written
            assert not report.untracked.clip(grown, grown + 2 * MIB)
            assert victim.ask("move", grown, 2 * MIB, 2 * MIB) > 0


def test_ending_on_an_area_that_grew_leaves_no_half(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = victim.map(MIB)
    victim.write(grown, 256)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        stale = victim.areas()
        assert victim.ask("grow", grown, MIB, 2 * MIB) == grown
        with monkeypatch.context() as patched:
            patched.setattr("lamina.core.dirty.uffd_wp.read_maps", lambda pid: stale)
            tracker.disarm(None)
        assert victim.area(grown).size == 2 * MIB
        assert " uw" not in Path(f"/proc/{victim.pid}/smaps").read_text()
        assert victim.ask("move", grown, 2 * MIB, 2 * MIB) > 0


def test_changed_protection_keeps_the_bits(victim: Victim) -> None:
    address = victim.map(MIB)
    victim.write(address, 256)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        written = victim.write(address, 5, 11 * PAGE)
        for prot in (PROT_READ, PROT_NONE):
            victim.ask("protect", address, MIB, prot)
            report = tracker.peek(victim.areas())
            assert report.changed.clip(address, address + MIB) == written
        assert changed_in(tracker, victim, address, MIB) == written
        victim.ask("protect", address, MIB, PROT_READ | PROT_WRITE)
        assert not changed_in(tracker, victim, address, MIB)


def test_collapse_after_protect_loses_nothing(victim: Victim) -> None:
    address = victim.map(4 * MIB)
    victim.write(address, 1024)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        written = victim.write(address + 2 * MIB, 512)
        victim.ask("advise", address + 2 * MIB, 2 * MIB, MADV_COLLAPSE)
        assert changed_in(tracker, victim, address, 4 * MIB).covers(written)


def test_untouched_reserves_get_no_page_tables(victim: Victim) -> None:
    address = victim.map(1 << 40)
    written = victim.write(address + (77 << 30), 3)
    with armed(victim) as tracker:
        before = Path(f"/proc/{victim.pid}/status").read_text().split("VmPTE:")[1].split()[0]
        assert changed_in(tracker, victim, address, 1 << 40) == written
        tracker.protect(victim.areas(), live=False)
        after = Path(f"/proc/{victim.pid}/status").read_text().split("VmPTE:")[1].split()[0]
        assert int(after) <= int(before) + 8


# -- whose descriptor ----------------------------------------------------------------------------------------------------------------


def test_a_later_lamina_finds_the_tracking_again(victim: Victim) -> None:
    address = victim.map(4 * MIB)
    victim.write(address, 1024)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
    written = victim.write(address, 9, 5 * PAGE)
    with tracker_of(victim) as later:
        assert later.adopt()
        assert later.uffd_fd == 1023
        report = later.protect(victim.areas(), live=True)
        in_area = report.changed.clip(address, address + 4 * MIB)
        assert in_area.covers(written)
        assert in_area.pages <= written.pages + 1  # the page tried for the proof may be one too many
        frozen(victim.pid, later.arm)  # goes on with it, does not make another
        assert [held.fd for held in held_uffds(victim.identity)] == [1023]


def test_without_a_state_file_lamina_makes_a_new_one(victim: Victim) -> None:
    with armed(victim) as tracker:
        ino = tracker.uffd_ino
    state.forget(victim.identity)
    assert [held.whose for held in held_uffds(victim.identity)] == [Whose.INHERITED]
    with tracker_of(victim) as later:
        assert not later.adopt()
        frozen(victim.pid, later.arm)
        assert later.uffd_ino != ino
        assert [held.ino for held in held_uffds(victim.identity)] == [later.uffd_ino]


def test_without_any_note_it_is_another_laminas_until_it_is_taken_over(victim: Victim) -> None:
    """As after `lamina track` of a user, then as root: another state directory, and the same descriptor."""
    address = victim.map(4 * MIB)
    victim.write(address, 9)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
    state.forget(victim.identity)
    made._place().unlink()
    assert [held.whose for held in held_uffds(victim.identity)] == [Whose.ELSEWHERE]
    assert not leftovers(victim.identity)
    able = capability_for(victim.identity)
    assert not able.available
    assert f"lamina untrack --force -t {victim.pid}" in able.reason
    with tracker_of(victim) as later:
        assert not later.adopt()
        with pytest.raises(TargetError, match="keeps its notes elsewhere"):
            frozen(victim.pid, later.arm)
        frozen(victim.pid, lambda inside, areas: later.disarm(inside))
    assert 1023 in fds_of(victim.pid)
    assert take_over(victim.identity)
    assert not take_over(victim.identity)
    with tracker_of(victim) as later:
        assert later.adopt()
        later.disarm(None)
        frozen(victim.pid, lambda inside, areas: later.disarm(inside))
    assert 1023 not in fds_of(victim.pid)
    assert not held_uffds(victim.identity)


def test_every_number_below_1024_may_be_taken(victim: Victim) -> None:
    """It then lies above, inside the table as it is; with none free at all the process is not tracked, and that is said."""
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (4000, 4000))
    before = len(fds_of(victim.pid))
    assert victim.ask("dup", 1500 - before) == 1499
    with armed(victim) as tracker:
        assert tracker.uffd_fd == 2047
        frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
    assert fds_of(victim.pid) == list(range(1500))
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (1501, 4000))
    with armed(victim) as tracker:
        assert tracker.uffd_fd == 1500
        frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (1500, 4000))
    able = capability_for(victim.identity)
    assert not able.available
    assert "none of its 1500 descriptors is free" in able.reason


def test_a_programs_own_userfaultfd_is_left_alone(victim: Victim) -> None:
    for kind in ("uffd", "plain-uffd"):
        fd = victim.ask(kind)
        assert fd >= 0
    own = fds_of(victim.pid)
    assert {held.whose for held in held_uffds(victim.identity)} == {Whose.FOREIGN}
    able = capability_for(victim.identity)
    assert not able.available
    assert "it uses a userfaultfd itself" in able.reason
    with choose_tracker(victim.identity, lambda fd, ino: None) as tracker:
        assert isinstance(tracker, UntrackedTracker)
        frozen(victim.pid, tracker.arm)
    assert fds_of(victim.pid) == own


def test_a_descriptor_claimed_but_not_yet_noted_is_ours(victim: Victim) -> None:
    """Killed between the injection and the note: the claim made before it says whose it is."""
    with armed(victim) as tracker:
        number, ino = tracker.uffd_fd, tracker.uffd_ino
    remember(victim, number, 0)
    with tracker_of(victim) as later:
        assert later.adopt()
        assert later.uffd_ino == ino
    found = state.load(victim.identity)
    assert found
    assert found.uffd_ino == ino


def test_a_forked_child_does_not_track_with_its_parents_descriptor(victim: Victim) -> None:
    """The child's copy acts on the parent's memory: it is not used, it is closed in the child, and the parent's tracking stays."""
    address = victim.map(MIB)
    victim.write(address, 256)
    with armed(victim) as parent:
        parent.protect(victim.areas(), live=True)
        child_pid = victim.ask("fork")
        child = identify(child_pid)
        assert [held.whose for held in held_uffds(child)] == [Whose.INHERITED]
        with UffdTracker(child) as tracker:
            assert not tracker.adopt()
            assert tracker.peek(victim.areas()).untracked.covers(PageRuns.of([(address, address + MIB)]))
            frozen(child_pid, tracker.arm)
            assert [held.ino for held in held_uffds(child)] == [tracker.uffd_ino]
            assert tracker.uffd_ino != parent.uffd_ino
            assert tracker.protect(victim.areas(), live=True).changed.covers(PageRuns.of([(address, address + MIB)]))
            written = victim.write(address, 4)  # the child answers
            assert tracker.protect(victim.areas(), live=True).changed.clip(address, address + MIB) == written
            assert not parent.protect(victim.areas(), live=True).changed.clip(address, address + MIB)
        assert victim.say("quit") == "bye"
        assert victim._line() == "0"  # the parent, which waited
        written = victim.write(address + 16 * PAGE, 4)
        assert changed_in(parent, victim, address, MIB) == written


def test_even_a_state_file_that_lies_does_not_make_a_childs_copy_its_own(victim: Victim) -> None:
    """The deed: a page let go through the inherited descriptor is let go in the parent, not here."""
    address = victim.map(MIB)
    victim.write(address, 256)
    with armed(victim) as parent:
        child = identify(victim.ask("fork"))
        with UffdTracker(child, lambda fd, ino: None) as own:
            frozen(child.pid, own.arm)
            own.protect(victim.areas(), live=True)
            parent.protect(victim.areas(), live=True)
            # Now the child has protected pages, and the parent's descriptor under the number its state names.
            copy = fetch(victim.pid, parent.uffd_fd)
            try:
                assert not own._acts_here(copy)
                assert own._acts_here(own._uffd)
            finally:
                os.close(copy)


def test_what_a_child_inherited_is_taken_out_even_after_the_parents_tracking_ended(victim: Victim) -> None:
    with armed(victim) as tracker:
        child = identify(victim.ask("fork"))
        frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
    state.forget(victim.identity)
    assert [held.whose for held in leftovers(child)] == [Whose.INHERITED]
    assert capability_for(child).available
    with UffdTracker(child) as never_armed:
        frozen(child.pid, lambda inside, areas: never_armed.disarm(inside))
    assert not held_uffds(child)
    assert victim.say("quit") == "bye"


def test_the_untracked_backend_reports_all_by_either_way(victim: Victim, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(b"f" * 16 * PAGE)
    address = victim.map(8 * MIB)
    written = victim.write(address, 300, 3 * PAGE)
    in_file = victim.ask("file", backing, 16 * PAGE, "private")
    victim.ask("read", in_file, 16, PAGE)
    written |= victim.write(in_file, 5, 2 * PAGE)
    areas = [victim.area(address), victim.area(in_file)]
    for by_entries in (False, True):
        with UntrackedTracker(victim.identity, "as asked", by_entries) as tracker:
            for _ in range(2):
                report = tracker.protect(areas, live=False)
                assert report.changed == report.untracked == report.data == written
            whole = tracker.peek(victim.areas())
            assert whole.changed.covers(written)
            assert "[vvar]" in {area.path for area in whole.outside}
            assert tracker.extend(areas).covers(written)


def test_a_dead_parents_descriptor_is_cleared_out(tmp_path: Path) -> None:
    with victim_in(tmp_path) as victim:
        with armed(victim) as tracker:
            ino = tracker.uffd_ino
        child_pid = victim.ask("fork")
        child = identify(child_pid)
        pidfd = os.pidfd_open(child_pid)
        os.kill(victim.pid, 9)
        victim._process.wait()
        state.forget_ended()
        made._place().unlink()
        try:
            assert [(held.ino, held.whose) for held in held_uffds(child)] == [(ino, Whose.DEAD)]
            with UffdTracker(child) as own:
                frozen(child_pid, own.arm)
                assert [held.ino for held in held_uffds(child)] == [own.uffd_ino]
        finally:
            victim.say("quit")
            os.close(pidfd)


def test_after_exec_nothing_is_left_and_all_is_changed(victim: Victim) -> None:
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        assert victim.say("exec") == "ready"
        assert not held_uffds(victim.identity)
        with pytest.raises(TargetError, match="exec"):
            tracker.protect(victim.areas(), live=True)
    with tracker_of(victim) as later:
        assert not later.adopt()
        report = later.protect(victim.areas(), live=True)
        assert report.changed == report.untracked == report.data
        frozen(victim.pid, later.arm)
        assert later.protect(victim.areas(), live=True).changed


def test_when_the_target_closes_the_descriptor_nothing_is_silently_lost(victim: Victim) -> None:
    address = victim.map(MIB)
    victim.write(address, 256)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)

        def close(inside: Inside, areas: object) -> None:
            from lamina.core.attach.calls import CallList

            calls = CallList()
            calls.add("close", tracker.uffd_fd, expect=0)
            inside.run(calls)

        frozen(victim.pid, close)
    with tracker_of(victim) as later:
        assert not later.adopt()
        report = later.protect(victim.areas(), live=True)
        assert report.untracked.covers(PageRuns.of([(address, address + MIB)]))


def test_disarm_of_the_running_target_then_in_a_short_freeze(victim: Victim) -> None:
    address = victim.map(64 * MIB)
    victim.write(address, 64 * 256)
    with armed(victim) as tracker:
        tracker.protect(victim.areas(), live=True)
        tracker.disarm(None)
        report = tracker.peek(victim.areas())
        assert report.changed == report.untracked == report.data
        assert held_uffds(victim.identity)
        frozen(victim.pid, lambda inside, areas: tracker.disarm(inside))
        assert not held_uffds(victim.identity)


# -- concurrency ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small", "huge"])
def test_report_and_protect_under_two_writers_loses_nothing(victim: Victim, kind: str) -> None:
    """An image built from reports alone equals the memory, at every one of several freezes."""
    size = 8 * MIB
    address = victim.map(size, kind)
    whole = victim.write(address, size // PAGE)
    image = bytearray(size)
    buffer = WarmBuffer(size)

    def copy(runs: PageRuns) -> None:
        assert not copy_runs(victim.pid, runs, buffer)
        at = 0
        for start, end in runs:
            image[start - address : end - address] = buffer.view[at : at + end - start]
            at += end - start

    with armed(victim) as tracker:
        copy(tracker.protect(victim.areas(), live=True).changed.clip(address, address + size))
        victim.ask("storm", address, size, 2)
        reported = 0
        for _ in range(6):
            for _ in range(8):
                changed = tracker.protect([victim.area(address)], live=True).changed
                reported += changed.pages
                copy(changed)

            def stop(inside: Inside, areas: object) -> bool:
                copy(tracker.protect([victim.area(address)], live=False).changed)
                assert not copy_runs(victim.pid, whole, buffer)
                return bytes(buffer.view[:size]) == bytes(image)

            assert frozen(victim.pid, stop), "a write was lost"
        assert reported > 1000
        assert victim.ask("calm") > 10000


def test_fetching_reports_a_closed_number_and_leaks_nothing(victim: Victim) -> None:
    with pytest.raises(TargetError, match="cannot fetch"):
        fetch(victim.pid, 999)
    with armed(victim) as tracker:
        fds, rss = own_fds(), own_rss()
        for _ in range(300):
            os.close(fetch(victim.pid, tracker.uffd_fd))
            tracker.extend(victim.areas())
            tracker.protect(victim.areas(), live=False)
            tracker.unprotect(tracker.peek(victim.areas()).clean)
        assert own_fds() == fds
        assert own_rss() - rss < 4 * MIB


def test_c_calls_on_what_is_no_userfaultfd_fail(victim: Victim) -> None:
    null, err, status = os.open("/dev/null", os.O_RDONLY), new_error(), ffi.new("int32_t[1]")
    one, two = ffi.new("uint64_t[]", [PAGE]), ffi.new("uint64_t[]", [2 * PAGE])
    try:
        calls: tuple[Callable[[], int], ...] = (
            lambda: C.lm_uffd_api(null, err),
            lambda: C.lm_uffd_register(null, one, two, 1, 1, status, err),
            lambda: C.lm_uffd_unprotect(null, one, two, 1, 0, status, err),
            lambda: C.lm_uffd_alive(null, err),
        )
        for call in calls:
            with pytest.raises(NativeError):
                check(call(), err)
    finally:
        os.close(null)
