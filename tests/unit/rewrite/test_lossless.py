"""Lossless dedup: what the parent has as well is inherited, and no layer resolves to anything else than before."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.archive.compress import compress
from lamina.core.cli.entry import main
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, Cancelled, ImageError
from lamina.core.events import CancelToken, Event, Notice, Progress
from lamina.core.image.holes import punch
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import TRASH
from lamina.core.image.lock import locked
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.summary import summary_of
from lamina.core.rewrite.dedup import dedup
from lamina.core.rewrite.lossless import apply_lossless, plan_lossless
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make, runs
from tests.unit.image.stacks import Plan, build, new_stack, plans
from tests.unit.rewrite.memories import leftovers, memories, memory_of


def alike(plan: Plan) -> Plan:
    """The same layers with one of two contents each, so that many pages are as they were in the parent."""
    return replace(plan, layers={name: replace(it, tag=it.tag % 2) for name, it in plan.layers.items()})


def equal_to_parent(plan: Plan, stack: Path) -> dict[str, int]:
    """By layer, how many of its own pages its parent resolves to the same content, one by one."""
    return {
        name: sum(
            memory_of(Layer(stack / it.parent)).get((pid, page)) == memory_of(Layer(stack / name))[pid, page]
            for pid, pages in it.spec.own.items()
            for page in pages
        )
        for name, it in plan.layers.items()
        if it.parent
    }


@settings(max_examples=50, deadline=None)
@given(plan=plans().map(alike), data=st.data())
def test_every_layer_stays_as_it_is(plan: Plan, data: st.DataObject) -> None:
    with new_stack() as stack:
        build(stack, plan)
        punched = data.draw(st.none() | st.sampled_from([name for name, it in plan.layers.items() if it.parent]))
        if punched:
            dedup(Layer(stack / punched))
        before, findings = memories(stack), {name: check_chain(Layer(stack / name)) == [] for name in plan.layers}
        ids = {name: summary_of(Layer(stack / name)).layer_id for name in plan.layers}
        expected = equal_to_parent(plan, stack) if not punched else {}
        foreseen = plan_lossless(stack)
        done = apply_lossless(stack)
        assert {it.layer.name: it.pages for it in foreseen.layers} == {it.layer.name: it.pages for it in done.layers}
        assert punched or {it.layer.name: it.pages for it in done.layers if it.layer.parent_link} == expected
        assert memories(stack) == before
        assert {name: summary_of(Layer(stack / name)).layer_id for name in plan.layers} == ids
        for name, whole in findings.items():
            assert (check_chain(Layer(stack / name), contents=True) == []) == whole == summary_of(Layer(stack / name)).restorable
        assert leftovers(stack) == []
        assert apply_lossless(stack).pages == 0


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """1 ← 2 ← 3, all of one content: 2 writes again what 1 has, 3 too, and page 9 is new in it."""
    make(tmp_path, "1", Spec({7: {1, 2, 3, 4}}), tag=1)
    make(tmp_path, "2", Spec({7: {1, 2, 3}}, {7: {4}}), "1", tag=1)
    make(tmp_path, "3", Spec({7: {1, 3, 9}}, {7: {2}}), "2", tag=1)
    return tmp_path


def test_one_layer(stack: Path) -> None:
    before = memories(stack)
    done = apply_lossless(stack, [stack / "3"])
    assert [(it.layer.name, it.own_pages, it.pages, it.bytes_freed) for it in done.layers] == [("3", 3, 2, 2 * PAGE)]
    top = Layer(stack / "3")
    assert (top.pagemap(7).present, top.pagemap(7).parent) == (runs({9}), runs({1, 2, 3}))
    assert top.file("pages-1.img").stat().st_size == PAGE
    assert memories(stack) == before
    assert [Layer(stack / name).pagemap(7).present.pages for name in "12"] == [4, 3], "the others are not touched"


def test_a_stack_of_criu_and_what_lies_in_the_trash(stack: Path) -> None:
    for name in "123":
        (stack / name / SIDECAR).unlink()
    (stack / "3").rename(stack / f"{TRASH}3")
    before = memory_of(Layer(stack / f"{TRASH}3"))
    done = apply_lossless(stack)
    assert [(it.layer.name, it.pages) for it in done.layers] == [("1", 0), ("2", 3)]
    (stack / f"{TRASH}3").rename(stack / "3")
    assert memory_of(Layer(stack / "3")) == before
    assert check_chain(Layer(stack / "3"), contents=True) == []


def test_a_hole_that_nobody_recorded_is_no_content(stack: Path) -> None:
    """Zeros that another tool's punch left in the parent must not become the content of a page that is really zero."""
    for name in "12":
        (stack / name / SIDECAR).unlink()
    with (stack / "2" / "pages-1.img").open("r+b") as file:
        file.write(bytes(PAGE))
    with (stack / "1" / "pages-1.img").open("r+b") as file:
        punch(file.fileno(), PageRuns.of([(0, PAGE)]))
    done = apply_lossless(stack, [stack / "2"])
    assert [it.pages for it in done.layers] == [2]
    assert runs({1}) == Layer(stack / "2").pagemap(7).present


def test_what_cannot_be_made_anew_is_said(stack: Path) -> None:
    make(stack, "4", Spec({7: set(range(60))}), "3", tag=2)
    compress(Layer(stack / "4"))
    with pytest.raises(ImageError, match="layer .*/4: its pages are compressed"):
        apply_lossless(stack, [stack / "4"])
    notices: list[Event] = []
    done = apply_lossless(stack, listen=notices.append)
    assert [(layer.name, "lamina expand" in why) for layer, why in done.skipped] == [("4", True)]
    assert any(isinstance(it, Notice) and it.text.startswith("4 stays as it is: ") for it in notices)
    assert {it.layer.name: it.pages for it in done.layers} == {"1": 0, "2": 3, "3": 2}


def test_a_damaged_page_is_not_given_a_new_checksum(stack: Path) -> None:
    with (stack / "3" / "pages-1.img").open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(b"X")
    before = {path: path.read_bytes() for path in stack.rglob("*.img")}
    with pytest.raises(ImageError, match="its content changed since it was written"):
        apply_lossless(stack, [stack / "3"])
    assert {path: path.read_bytes() for path in stack.rglob("*.img")} == before


def test_one_writer_at_a_time_and_a_cancel(stack: Path) -> None:
    with locked(stack), pytest.raises(BusyError):
        apply_lossless(stack)
    before = memories(stack)
    cancel = CancelToken()

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "compare 2":
            cancel.cancel()

    with pytest.raises(Cancelled, match="1 layers were rewritten, all can be restored as before"):
        apply_lossless(stack, listen=listen, cancel=cancel)
    assert memories(stack) == before
    assert leftovers(stack) == []
    assert [Layer(stack / name).pagemap(7).present.pages for name in "123"] == [4, 3, 1]


def test_the_command(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dedup", "--lossless", str(stack), "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["pages"], said["bytes_freed"], said["dry_run"]) == (5, 5 * PAGE, True)
    assert main(["--stack", str(stack), "dedup", "--lossless", "3"]) == 0
    assert capsys.readouterr().out.startswith("3: 2 pages (8.0 KiB) of its own 3 became inherited, 8.0 KiB on disk\n")
    assert main(["dedup", "--lossless", "--stack", str(stack)]) == 0
    out = capsys.readouterr().out
    assert "2: 3 pages (12.0 KiB) of its own 3 became inherited" in out
    assert out.endswith("every layer is as restorable as before\n")
    assert main(["dedup", "--lossless"]) == 2
    assert main(["dedup", str(stack)]) == 1
    assert "it holds no inventory.img" in capsys.readouterr().err
    shutil.rmtree(stack / "1")
    assert main(["dedup", "--lossless", "-D", str(stack / "2")]) == 1
