"""Tasks, threads, descriptors and areas of two sides, as plain values."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lamina.core.inspect.areas import AreaKind, MemoryArea
from lamina.core.inspect.diff.areas import AreaHow, all_areas, diff_areas
from lamina.core.inspect.diff.descriptors import Descriptor, How, diff_descriptors
from lamina.core.inspect.diff.tasks import Task, Thread, diff_tasks, pair_tasks

PAGE = 4096
LEADER = Thread(7, "victim", {"ip": 1, "sp": 2}, b"x")
TASK = Task(7, 0, 7, 7, "victim", threads=(LEADER, Thread(8, "worker", {"ip": 5}, b"y")), exe="/bin/victim", cwd="/tmp")


def test_tasks_added_gone_and_the_same() -> None:
    child, other = Task(9, 7, comm="child"), Task(10, 7, comm="other")
    a, b = (TASK, child), (TASK, other)
    found = diff_tasks(a, b, pair_tasks(a, b))
    assert (found.added, found.gone, found.changed, found.same) == ((other,), (child,), (), 1)


def test_what_of_a_task_changed() -> None:
    threads = (replace(LEADER, registers={"ip": 3, "sp": 2}, vectors=b"z"), Thread(12, "late"))
    after = replace(TASK, comm="renamed", state="stopped", cwd="/", exe="", threads=threads)
    (change,) = diff_tasks((TASK,), (after,), pair_tasks((TASK,), (after,))).changed
    # An unknown path is not another one.
    assert {it.name: (it.a, it.b) for it in change.fields} == {
        "comm": ("victim", "renamed"), "state": ("alive", "stopped"), "cwd": ("/tmp", "/"),
    }  # fmt: skip
    assert [it.tid for it in change.threads_added] == [12] and [it.tid for it in change.threads_gone] == [8]
    (thread,) = change.threads
    assert thread.tid == 7 and dict(thread.registers) == {"ip": (1, 3)} and thread.vectors


def test_registers_nobody_knows_are_not_compared() -> None:
    live = replace(TASK, threads=tuple(replace(it, registers={}, vectors=b"") for it in TASK.threads))
    assert diff_tasks((TASK,), (live,), ((TASK, live),)).same == 1


def test_of_a_pre_dump_no_task_is_compared() -> None:
    bare = Task(7, state="")
    assert diff_tasks((bare,), (TASK,), ((bare, TASK),)).same == 1


def test_another_run_of_the_program_is_paired_by_place() -> None:
    a = (TASK, Task(9, 7), Task(10, 9))
    b = (replace(TASK, pid=20, threads=(replace(LEADER, tid=20), Thread(21, "worker", {"ip": 5}, b"y"))), Task(21, 20), Task(22, 21))
    pairs = pair_tasks(a, b)
    assert [(one.pid, other.pid) for one, other in pairs] == [(7, 20), (9, 21), (10, 22)]
    (change,) = diff_tasks(a, b, pairs).changed  # only the threads, which have other numbers
    assert (change.pid, change.pid_a, change.fields, change.threads) == (20, 7, (), ())
    assert pair_tasks(a, (b[0], Task(21, 20), Task(22, 20))) == ()  # another form of tree
    assert pair_tasks(a, (*b, Task(9, 20))) == ((a[1], Task(9, 20)),)  # one pid is on both sides: then pids decide


def test_descriptors() -> None:
    log = Descriptor(3, "file", "/tmp/log", 10, 0o2)
    a = (Descriptor(0, "file", "/dev/null", 0), log, Descriptor(4, "pipe"), Descriptor(5, "eventfd", detail="counter 1"))
    b = (
        Descriptor(0, "file", "/dev/null", 0), replace(log, offset=30, flags=0o2002, cloexec=True),
        Descriptor(5, "eventfd", detail="counter 2"), Descriptor(6, "socket", "tcp 127.0.0.1:80 listening"),
    )  # fmt: skip
    changed, closed, counted, opened = diff_descriptors(7, a, b)
    assert (changed.fd, changed.how) == (3, How.CHANGED)
    assert [(it.name, it.a, it.b) for it in changed.fields] == [
        ("offset", "10", "30"), ("flags", "0o2", "0o2002"), ("close-on-exec", "False", "True"),
    ]  # fmt: skip
    assert (closed.fd, closed.how, closed.b) == (4, How.GONE, None)
    assert [(it.name, it.a, it.b) for it in counted.fields] == [("state", "counter 1", "counter 2")]
    assert (opened.fd, opened.how, opened.a) == (6, How.ADDED, None)
    (other,) = diff_descriptors(7, (log,), (replace(log, what="/tmp/other", offset=0),))
    assert [it.name for it in other.fields] == ["what"]


def area(start: int, end: int, prot: int = 3, name: str = "", kind: AreaKind = AreaKind.ANON, offset: int = 0) -> MemoryArea:
    return MemoryArea(start * PAGE, end * PAGE, prot, 2, kind, name, offset * PAGE)


def changes(a: list[MemoryArea], b: list[MemoryArea]) -> list[tuple[int, int, str]]:
    return [(it.start // PAGE, it.end // PAGE, it.how.value) for it in diff_areas(7, a, b)]


def test_areas_mapped_and_unmapped() -> None:
    assert changes([area(1, 3), area(5, 6)], [area(1, 3), area(8, 9)]) == [(5, 6, "gone"), (8, 9, "added")]
    assert changes([], [area(1, 2)]) == [(1, 2, "added")]
    assert changes([area(1, 3)], [area(1, 3)]) == []


def test_areas_grow_and_shrink_at_both_ends() -> None:
    heap = area(4, 8, kind=AreaKind.HEAP, name="[heap]")
    assert changes([heap], [replace(heap, end=12 * PAGE)]) == [(8, 12, "grew")]
    assert changes([heap], [replace(heap, start=2 * PAGE, end=7 * PAGE)]) == [(2, 4, "grew"), (7, 8, "shrank")]


def test_a_protected_part_is_no_other_area() -> None:
    parts = [area(1, 3), area(3, 5, prot=1), area(5, 9)]
    assert changes([area(1, 9)], parts) == [(3, 5, "protection")]
    assert changes(parts, [area(1, 9)]) == [(3, 5, "protection")]
    (change,) = diff_areas(7, [area(1, 9)], parts)
    assert change.a and change.b and (change.a.perms, change.b.perms) == ("rw-p", "r--p")


def test_another_file_or_part_of_it_replaces() -> None:
    lib = area(1, 5, name="/lib/a.so", kind=AreaKind.FILE)
    assert changes([lib], [replace(lib, name="/lib/b.so")]) == [(1, 5, "replaced")]
    assert changes([lib], [replace(lib, offset=PAGE)]) == [(1, 5, "replaced")]
    # The same place of the file, though the area begins later.
    assert changes([lib], [replace(lib, start=2 * PAGE, offset=PAGE)]) == [(1, 2, "shrank")]


def test_the_kernel_names_its_own_areas_as_it_likes() -> None:
    vvar = area(1, 3, prot=1, name="[vvar]", kind=AreaKind.VVAR)
    assert changes([vvar], [replace(vvar, name="[vvar_vclock]")]) == []


Edges = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3), st.integers(1, 3)), max_size=8)


def areas_of(edges: list[tuple[int, int, int]]) -> list[MemoryArea]:
    found: list[MemoryArea] = []
    for start, length, prot in sorted(edges):
        if not found or found[-1].end <= start * PAGE:
            found.append(area(start, start + length, prot))
    return found


@given(Edges, Edges)
def test_every_page_that_is_not_mapped_alike_is_in_one_change(a: list[tuple[int, int, int]], b: list[tuple[int, int, int]]) -> None:
    before, after = areas_of(a), areas_of(b)
    found = diff_areas(7, before, after)

    def at(areas: list[MemoryArea], page: int) -> MemoryArea | None:
        return next((it for it in areas if it.start <= page * PAGE < it.end), None)

    for page in range(40):
        one, other = at(before, page), at(after, page)
        hit = [it for it in found if it.start <= page * PAGE < it.end]
        expected = (one is None) != (other is None) or (one is not None and other is not None and one.perms != other.perms)
        assert len(hit) == expected
        if hit:
            assert (hit[0].a, hit[0].b) == (one, other)
            assert hit[0].how in ((AreaHow.ADDED, AreaHow.GREW) if one is None else (AreaHow.GONE, AreaHow.SHRANK) if other is None
                                  else (AreaHow.PROTECTION,))  # fmt: skip
    together = all_areas(before, after)
    covered = [page for it in together for page in range(it.start // PAGE, it.end // PAGE)]
    assert covered == sorted(set(covered))
    assert set(covered) == {page for page in range(40) if at(before, page) or at(after, page)}
