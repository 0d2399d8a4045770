"""Every way a stack can be damaged is found by verify, and refused by restore before anything is forked, in one line that names the file.

A real stack of three (its last dump ended the program). Each case damages a copy of it; the untouched one restores at the end.
"""

import json
import os
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lamina.core.cli import main
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image import format as fmt
from lamina.core.image.format import PageFlag
from lamina.core.image.layer import Layer
from lamina.core.image.owners import to_offsets
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import NAME as SIDECAR
from tests.live.harness import FULL, Victim, alive, dump, lamina, need_root, reaping, restore, start_c, tree_of

Damage = Callable[["Stack"], str]
AT_ONCE_S = 2.0


@dataclass
class Stack:
    """A copy of the stack: layers 1, 2, 3."""

    path: Path
    pid: int

    def layer(self, name: str) -> Layer:
        return Layer(self.path / name)

    def forget(self, *names: str) -> None:
        """Take the sidecars away: only the images themselves can tell then."""
        for name in names or ("1", "2", "3"):
            (self.path / name / SIDECAR).unlink(missing_ok=True)

    def write_map(self, name: str, pagemap: PageMap) -> None:
        self.forget()
        (self.path / name / f"pagemap-{self.pid}.img").write_bytes(pagemap.encode())

    def inherited_twice(self) -> PageRuns:
        """Pages of 3 that 2 inherits from 1."""
        maps = [self.layer(name).pagemap(self.pid) for name in ("1", "2", "3")]
        return maps[2].parent & maps[1].parent & maps[0].present


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Victim]]:
    need_root()
    base = tmp_path_factory.mktemp("damaged")
    with reaping() as reaper:
        victim = start_c(reaper, base / "victim", "cells", 2)
        above = None
        for name in ("1", "2", "3"):
            victim.ask(f"write 100 {name}")
            (base / "S" / name).mkdir(parents=True)
            dump(victim, base / "S" / name, parent=above, last=name == "3")
            above = base / "S" / name
        yield Stack(base / "S", victim.pid), victim


@pytest.fixture
def stack(made: tuple[Stack, Victim], tmp_path: Path) -> Stack:
    subprocess.run(["cp", "-a", made[0].path, tmp_path / "S"], check=True)
    return Stack(tmp_path / "S", made[0].pid)


FILES = ("inventory", "pstree", "core-PID", "mm-PID", "ids-PID", "fs-PID", "files", "fdinfo-2", "pagemap-PID", "pages-1")


def names_of(layer: str) -> list[str]:
    """Files of a task, with PID for its number."""
    return [f"{layer}/{name}.img" for name in FILES]


def missing(name: str) -> Damage:
    def damage(stack: Stack) -> str:
        real = name.replace("PID", str(stack.pid))
        (stack.path / real).unlink()
        return Path(real).name

    return damage


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(stack: Stack) -> str:
        path = stack.path / name.replace("PID", str(stack.pid))
        path.write_bytes(change(path.read_bytes()))
        return path.name

    return damage


def sized(name: str, by: int) -> Damage:
    def damage(stack: Stack) -> str:
        path = stack.path / name
        os.truncate(path, path.stat().st_size + by)
        return path.name

    return damage


def dangling(stack: Stack) -> str:
    (stack.path / "2").rename(stack.path / "moved")
    return "parent"


def no_link(stack: Stack) -> str:
    stack.forget()
    (stack.path / "3" / "parent").unlink()
    return f"pagemap-{stack.pid}.img"


def circle(stack: Stack) -> str:
    (stack.path / "1" / "parent").symlink_to("../3")
    return "parent"


def no_map_in_parent(stack: Stack) -> str:
    stack.forget()
    for name in (f"pagemap-{stack.pid}.img", "pages-1.img"):
        (stack.path / "2" / name).unlink()
    return f"pagemap-{stack.pid}.img"


def hole_that_only_the_grandparent_covers(stack: Stack) -> str:
    page = PageRuns.from_pages([int(stack.inherited_twice().starts[0])])
    found = stack.layer("2").pagemap(stack.pid)
    stack.write_map("2", PageMap.of(found.pages_id, found.present, found.parent - page))
    return f"pagemap-{stack.pid}.img"


def lazy_only(name: str) -> Damage:
    """Pages of 3 that the map of *name* has without data."""

    def damage(stack: Stack) -> str:
        found = stack.layer(name).pagemap(stack.pid)
        at = np.flatnonzero(found.flags & np.uint32(PageFlag.PARENT))[0]
        flags = found.flags.copy()
        flags[at] = PageFlag.LAZY
        stack.write_map(name, PageMap(found.pages_id, found.vaddr, found.pages, flags))
        return f"pagemap-{stack.pid}.img"

    return damage


def deduped_by_criu(stack: Stack) -> str:
    """A page that 3 needs of 1 punched, and nobody recorded it: the map of 1 still claims it."""
    page = PageRuns.from_pages([int(stack.inherited_twice().starts[0])])
    first = stack.layer("1")
    offset = int(to_offsets(first.pagemap(stack.pid).present, page).starts[0])
    command = ["fallocate", "--punch-hole", "-o", str(offset), "-l", str(PAGE), str(first.pages_path(stack.pid))]
    subprocess.run(command, check=True)
    return f"pagemap-{stack.pid}.img"


def swapped(one: str, other: str) -> Damage:
    def damage(stack: Stack) -> str:
        paths = [stack.path / name.replace("PID", str(stack.pid)) for name in (one, other)]
        kept = stack.path / "kept"
        for source, target in ((paths[0], kept), (paths[1], paths[0]), (kept, paths[1])):
            source.rename(target)
        return paths[0].name

    return damage


def unrecorded(damage: Damage) -> Damage:
    def without_sidecars(stack: Stack) -> str:
        name = damage(stack)
        stack.forget()
        return name

    return without_sidecars


def longer_record(data: bytes) -> bytes:
    """The first record announces more than there is."""
    head = 4 if data[:4] == fmt.INVENTORY.head_bytes else 8
    return data[:head] + struct.pack("<I", 1 << 30) + data[head + 4 :]


CASES: dict[str, Damage] = {
    **{f"{name} missing": missing(name) for name in names_of("3")},
    **{f"{name} missing": missing(name) for name in ("1/pages-1.img", "2/pages-1.img", "2/pagemap-PID.img", "1/inventory.img")},
    **{f"{name} with a wrong magic": rewritten(name, lambda data: b"\0\0\0\0" + data[4:]) for name in names_of("3")[:-1]},
    **{f"{name} cut in a record": rewritten(name, lambda data: data[:-1]) for name in names_of("3")[:-1]},
    **{f"{name} with a long record": rewritten(name, longer_record) for name in names_of("3")[:-1]},
    "a short pages file": sized("3/pages-1.img", -1),
    "a short pages file of an ancestor": sized("1/pages-1.img", -PAGE),
    "a long pages file": sized("2/pages-1.img", PAGE),
    "the parent is not there": dangling,
    "the parents form a circle": circle,
    "the parent has no map of the task": no_map_in_parent,
    "a hole that only the grandparent covers": hole_that_only_the_grandparent_covers,
    "an inherited run without a parent": no_link,
    "lazy pages in the layer": lazy_only("3"),
    "lazy pages in the parent": lazy_only("2"),
    "a parent that criu deduped claims its pages": deduped_by_criu,
    "two files swapped": swapped("3/mm-PID.img", "3/fs-PID.img"),
    "a file of another layer": swapped("3/core-PID.img", "2/core-PID.img"),
    "pages of another layer": swapped("2/pages-1.img", "1/pages-1.img"),
}  # fmt: skip
# Without their sidecars the layers are like CRIU's. What is left out there cannot be seen then.
_ONLY_BY_SUMS = {"a file of another layer"}
CASES |= {f"{case}, no sidecar": unrecorded(damage) for case, damage in CASES.items() if case not in _ONLY_BY_SUMS}
_MANY = ("with a wrong magic", "cut in a record", "with a long record", "no sidecar")
FEW = [case for at, case in enumerate(CASES) if not any(word in case for word in _MANY) or at % 7 == 0]


@pytest.mark.parametrize("case", list(CASES) if FULL else FEW)
def test_found_and_refused(stack: Stack, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = CASES[case](stack)
    assert main(["verify", "--fast", str(stack.path / "3")]) == 1
    said = capsys.readouterr()
    assert file in said.out + said.err and "Traceback" not in said.err, said

    before = tree_of(os.getpid())
    used = cpu_of_children()
    ran = lamina("restore", "-D", stack.path / "3", "-d", ok=False)
    assert ran.status == 1 and ran.out == "" and len(ran.err.splitlines()) == 1, ran.said
    assert file in ran.err and "Traceback" not in ran.err and "lamina failed" not in ran.err, ran.said
    assert cpu_of_children() - used < AT_ONCE_S
    assert not alive(stack.pid)
    assert tree_of(os.getpid()) == before


def cpu_of_children() -> float:
    """Seconds of processor time that children of this process used: what a busy machine does not falsify."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_flipped_bit_in_the_pages_is_found_by_contents(stack: Stack) -> None:
    with (stack.path / "1" / "pages-1.img").open("r+b") as file:
        file.seek(17)
        byte = file.read(1)[0]
        file.seek(17)
        file.write(bytes([byte ^ 1]))
    assert lamina("verify", "--fast", stack.path).status == 0
    ran = lamina("verify", stack.path, "--json", ok=False)
    assert ran.status == 1
    assert [it["state"] for it in ran.json["layers"]] == ["not restorable"] * 3
    assert "checksum of MiB 0" in ran.json["layers"][0]["why"]


def test_a_moved_stack_opens_and_a_renamed_layer_is_found_again(stack: Stack) -> None:
    moved = stack.path.parent / "moved"
    stack.path.rename(moved)
    assert lamina("verify", moved).status == 0
    (moved / "2").rename(moved / "second")
    ran = lamina("restore", "-D", moved / "3", "-d", ok=False)
    assert ran.status == 1 and f"lamina relink {moved}/3" in ran.err, ran.said
    assert lamina("relink", moved / "3", "--dry-run", "--json").json["link"] == "../second"
    assert os.readlink(moved / "3" / "parent") == "../2"
    lamina("relink", moved / "3")
    assert os.readlink(moved / "3" / "parent") == "../second"
    assert lamina("verify", moved).status == 0
    away = stack.path.parent / "elsewhere"
    away.mkdir()
    (moved / "1").rename(away / "one")
    ran = lamina("relink", moved / "second", ok=False)
    assert ran.status == 1 and "--search DIR" in ran.err and len(ran.err.splitlines()) == 1, ran.said
    lamina("relink", moved / "second", "--search", away)
    assert os.readlink(moved / "second" / "parent") == "../../elsewhere/one"
    assert lamina("verify", moved).status == 0


def test_a_file_that_changed_and_a_pid_that_is_taken_are_refused_by_the_plan(made: tuple[Stack, Victim], stack: Stack) -> None:
    _, victim = made
    out = victim.dir / "out"
    content = out.read_bytes()
    out.write_bytes(content + b"more")
    ran = lamina("restore", "-D", stack.path / "3", "-d", ok=False)
    assert ran.status == 1 and len(ran.err.splitlines()) == 1 and str(out) in ran.err, ran.said
    assert not alive(victim.pid)
    out.write_bytes(content)
    assert lamina("verify", stack.path / "3").status == 0  # the layer itself is whole


def test_the_untouched_copy_restores(made: tuple[Stack, Victim], stack: Stack) -> None:
    original, victim = made
    for name in ("1", "2", "3"):
        restore(victim, original.path / name)
        assert victim.ask()["wrong"] == 0
    ran = lamina("restore", "-D", stack.path / "2", "-d", ok=False)
    assert ran.status == 1 and len(ran.err.splitlines()) == 1 and f"pid {victim.pid}" in ran.err, ran.said
    victim.end()
    stack.forget()
    shutil.rmtree(original.path / "3")
    shutil.copytree(stack.path / "3", original.path / "3", symlinks=True)
    restore(victim, original.path / "3")
    assert victim.ask()["wrong"] == 0
    assert json.loads(lamina("verify", original.path, "--json").out)["whole"]
