"""diff and owners on a real program that does exactly what it is told between dumps: what differs is that, and nothing else of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.harness import Layers, Reaper, Victim, dump, lamina, restore, start_c

PAGE = 4096
PAGES = 64


@dataclass
class Changing:
    """The victim, its area of PAGES pages, and what it is told."""

    victim: Victim
    base: int

    @classmethod
    def start(cls, reaper: Reaper, directory: Path) -> "Changing":
        victim = start_c(reaper, directory, "changing")
        return cls(victim, victim.ask(f"map {PAGES}")["result"])

    def tell(self, what: str, *words: int) -> int:
        found: int = self.victim.ask(" ".join([what, *(str(word) for word in words)]))["result"]
        return found

    def pages(self, *numbers: int) -> list[int]:
        return [self.base + number * PAGE for number in numbers]


def inside(value: Any, name: str, base: int, pages: int = PAGES) -> list[int]:
    """Addresses of the pages of one set that lie in an area."""
    found = [at for start, end in value["pages"][name]["runs"] for at in range(start, end, PAGE)]
    return [at for at in found if base <= at < base + pages * PAGE]


def memory_of(value: Any, pid: int) -> Any:
    return next(it for it in value["memory"] if it["which"] == pid)


def test_pages_written_dropped_and_rewritten(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    it = Changing.start(reaper, tmp_path / "victim")
    pid = it.victim.pid
    it.tell("drop", it.base, 60)
    first, second, third = layers.new(), layers.new(), layers.new()
    dump(it.victim, first)
    for page in (0, 7, 8, 63):
        it.tell("write", it.base, page, 77)
    it.tell("rewrite", it.base, 20)  # written: at another place in the stack, with the same content
    it.tell("drop", it.base, 30)
    it.tell("write", it.base, 60, 5)
    dump(it.victim, second, parent=first)
    it.tell("write", it.base, 0, 78)
    it.tell("write", it.base, 1, 78)
    dump(it.victim, third, parent=second)

    found = memory_of(lamina("diff", first, second, "--json").json, pid)
    assert inside(found, "changed", it.base) == it.pages(0, 7, 8, 63)
    assert inside(found, "gone", it.base) == it.pages(30) and inside(found, "added", it.base) == it.pages(60)
    assert len(inside(found, "same", it.base)) == PAGES - 6 and not inside(found, "unreadable", it.base)
    by_map = memory_of(lamina("diff", first, second, "--map", "--json").json, pid)
    assert inside(by_map, "maybe", it.base) == it.pages(0, 7, 8, 20, 63) and not inside(by_map, "changed", it.base)
    # Over two layers, backwards, and by what is in the area.
    found = memory_of(lamina("diff", "--stack", layers.path, "3", "1", "--json").json, pid)
    assert inside(found, "changed", it.base) == it.pages(0, 1, 7, 8, 63) and inside(found, "added", it.base) == it.pages(30)
    row = next(row for row in found["areas"] if row["area"] and row["area"]["start"] == it.base)
    assert row["counts"] == {"same": PAGES - 7, "changed": 5, "maybe": 0, "added": 1, "gone": 1, "unreadable": 0}
    text = lamina("diff", first, third, "--pages").out
    assert f"changed  {it.base:x}-{it.base + 2 * PAGE:x}  2 pages" in text, text

    shown = lamina("diff", first, third, "--hex", f"{it.base:x}").out.splitlines()
    assert shown[3] == "1 bytes differ, marked by *" and len([line for line in shown if "*4e" in line and "*00" in line]) == 1, shown
    assert f"{it.base + PAGE // 2:012x}" in "\n".join(shown)
    pair = lamina("diff", first, third, "--hex", f"{pid}:{it.base + 123:x}", "--json").json
    assert pair["address"] == it.base and (pair["page_a"][PAGE : PAGE + 2], pair["page_b"][PAGE : PAGE + 2]) == ("00", "4e")
    assert "does not hold it" in lamina("diff", first, third, "--hex", f"{it.base + 30 * PAGE:x}").out


def test_who_owns_what(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    it = Changing.start(reaper, tmp_path / "victim")
    made = [layers.new() for _ in range(3)]
    parent = None
    for at, layer in enumerate(made):
        it.tell("write", it.base, at, 77)
        it.tell("write", it.base, 10, at)
        dump(it.victim, layer, parent=parent)
        parent = layer
    value = lamina("owners", made[-1], it.victim.pid, "--json").json["objects"][0]
    area = next(row for row in value["areas"] if row["area"]["start"] == it.base)
    assert area["pages"] == PAGES and area["strip"] == "cba" + "c" * 7 + "a" + "c" * (PAGES - 11)
    owner_of = {
        at: run["owner"] for run in value["runs"] for at in range(run["start"], run["end"], PAGE) if run["state"] == "data"
    }  # fmt: skip
    assert [owner_of[at] for at in it.pages(0, 1, 2, 3, 10)] == [2, 1, 0, 2, 0]
    assert [owner["layer"] for owner in value["owners"]] == ["3", "2", "1"]
    text = lamina("owners", made[-1]).out
    assert area["strip"] in text and f"process {it.victim.pid} (changing)" in text
    lines = lamina("owners", made[-1], it.victim.pid, "--runs").out.splitlines()
    assert len(lines) == 2 + len(value["runs"])
    assert any(line.startswith(f"{it.base + PAGE:x}-{it.base + 2 * PAGE:x}  1  2  0x") for line in lines)


def test_descriptors_areas_threads_and_tasks(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    it = Changing.start(reaper, tmp_path / "victim")
    pid = it.victim.pid
    kept, closed = it.tell("open kept"), it.tell("open closed")
    old = it.tell("map 4")
    first, second = layers.new(), layers.new()
    dump(it.victim, first)
    it.tell("append", kept)
    it.tell("close", closed)
    assert it.tell("open other") == closed
    opened = it.tell("open new")
    new = it.tell("map 3")
    it.tell("unmap", old, 0, 4)
    it.tell("protect", it.base, 8, 4)
    it.tell("unmap", it.base, 60, 4)
    tid, child = it.tell("thread"), it.tell("fork")
    dump(it.victim, second, parent=first)

    value = lamina("diff", first, second, "--json").json
    assert value["differs"]
    fds = {change["fd"]: change for change in value["descriptors"]}
    assert set(fds) == {kept, closed, opened}
    assert fds[kept]["fields"] == [{"name": "offset", "a": "0", "b": "10"}]
    assert fds[closed]["fields"] == [{"name": "what", "a": f"file {it.victim.dir}/closed", "b": f"file {it.victim.dir}/other"}]
    assert fds[opened]["how"] == "added" and fds[opened]["b"]["what"] == f"{it.victim.dir}/new"
    areas = {(change["start"], change["end"]): change["how"] for change in value["areas"]}
    assert areas.pop((old, old + 4 * PAGE)) == "gone"
    # The kernel may put the stack of the thread beside it, as one area.
    assert [how for (start, end), how in areas.items() if start <= new and new + 3 * PAGE <= end] == ["added"]
    assert areas.pop((it.base + 8 * PAGE, it.base + 12 * PAGE)) == "protection"
    assert areas.pop((it.base + 60 * PAGE, it.base + 64 * PAGE)) == "shrank"
    (changed,) = value["tasks"]["changed"]
    assert [thread["tid"] for thread in changed["threads_added"]] == [tid] and changed["threads_gone"] == []
    assert [task["pid"] for task in value["tasks"]["added"]] == [child] and value["tasks"]["gone"] == []
    back = lamina("diff", second, first, "--json").json
    assert [thread["tid"] for thread in back["tasks"]["changed"][0]["threads_gone"]] == [tid]
    text = lamina("diff", first, second).out
    for line in (
        f"+ {child} changing (alive)",
        f"    + thread {tid} changing",
        f"- process {pid} {old:x}-{old + 4 * PAGE:x} rw-p anon (16.0 KiB)",
        f"~ process {pid} {it.base + 8 * PAGE:x}-{it.base + 12 * PAGE:x} r--p anon (16.0 KiB): was rw-p",
        f"~ process {pid} fd {kept}  file {it.victim.dir}/kept: offset 0 → 10",
    ):
        assert line in text, text


def test_a_layer_and_the_living(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    it = Changing.start(reaper, tmp_path / "victim")
    pid = it.victim.pid
    layer = layers.new()
    dump(it.victim, layer)
    value = lamina("diff", layer, "--live", pid, "--json").json
    assert value["tasks"]["same"] == 1 and not value["descriptors"] and not value["areas"]
    assert len(inside(memory_of(value, pid), "same", it.base)) == PAGES
    assert "runs on while it is read" in value["notes"][0]

    it.tell("write", it.base, 5, 9)
    it.tell("drop", it.base, 6)
    fd, new = it.tell("open new"), it.tell("map 2")
    tid = it.tell("thread")
    value = lamina("diff", layer, "--live", pid, "--json").json
    found = memory_of(value, pid)
    assert inside(found, "changed", it.base) == it.pages(5) and inside(found, "gone", it.base) == it.pages(6)
    assert len(inside(found, "same", it.base)) == PAGES - 2
    assert inside(found, "added", new, 2) == [new, new + PAGE]
    assert [(change["fd"], change["how"]) for change in value["descriptors"]] == [(fd, "added")]
    assert [change["how"] for change in value["areas"] if change["start"] <= new and new + 2 * PAGE <= change["end"]] == ["added"]
    assert [thread["tid"] for thread in value["tasks"]["changed"][0]["threads_added"]] == [tid]
    shown = lamina("diff", layer, "--live", pid, "--hex", f"{it.base + 5 * PAGE:x}").out
    assert "1 bytes differ" in shown and "*09" in shown

    # Looked at, it is what it was: it works, and its next dump still stands on the layer.
    child = layers.new()
    stats = dump(it.victim, child, parent=layer).json["stats"]
    assert stats["pages_written"] < PAGES
    restore(it.victim, layer)
    value = lamina("diff", layer, "--live", pid, "--json").json
    found = memory_of(value, pid)
    assert len(inside(found, "same", it.base)) == PAGES and not inside(found, "changed", it.base)
    assert not value["descriptors"] and not value["tasks"]["changed"]
