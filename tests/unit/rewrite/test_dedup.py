"""Dedup frees what the layer itself holds and nothing that anyone else needs."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.lock import locked
from lamina.core.image.owners import resolve
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.stack import Stack, covered
from lamina.core.image.summary import summary_of
from lamina.core.rewrite import dedup
from lamina.core.rewrite.dedup import apply_dedup, plan_dedup
from lamina.core.verify import check_chain, require_whole
from tests.unit.image.layers import Spec, address, content, make, read_page, runs
from tests.unit.image.stacks import PIDS, Plan, build, new_stack, plans, resolve_naively


def images(layer: Layer, pages: int) -> dict[tuple[int, int], bytes | None]:
    """Everything a restore of the layer would read."""
    return {(int(pid), page): read_page(layer, int(pid), page) for pid in layer.objects for page in range(pages)}


@settings(max_examples=50, deadline=None)
@given(plan=plans(), data=st.data())
def test_restorable_layers_keep_every_page(plan: Plan, data: st.DataObject) -> None:
    with new_stack() as stack:
        made = build(stack, plan)
        expected = {name: images(layer, plan.pages) for name, layer in made.items()}
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from([name for name, it in plan.layers.items() if it.parent]))
            target = Layer(stack / name)
            whole_before = {it.name for it in Stack.open(stack).layers if not check_chain(it, contents=True)}
            if name not in whole_before:
                with pytest.raises(ImageError, match="not whole"):
                    plan_dedup(target)
                continue
            planned = plan_dedup(target)
            freed = apply_dedup(planned)
            assert freed == planned.bytes_freed == planned.pages * PAGE
            losing = {it.name for it in planned.losing}
            assert losing <= {it.name for it in target.chain()[1:]}
            after = {it.name: Layer(it.directory) for it in Stack.open(stack).layers}
            for other, layer in after.items():
                findings = check_chain(layer, contents=True)
                if other in whole_before - losing:
                    assert findings == []
                    assert summary_of(layer).restorable
                    assert images(layer, plan.pages) == expected[other]
                else:
                    assert findings
                    assert not summary_of(layer).restorable
                    assert summary_of(layer).why_not.startswith("punched by ")
                    kept = {key: page for key, page in images(layer, plan.pages).items() if page is not None}
                    assert kept.items() <= expected[other].items(), "what is left is what was there"
            assert plan_dedup(Layer(stack / name)).cuts == (), "doing it again frees nothing"


@settings(max_examples=30, deadline=None)
@given(plan=plans(branches=False))
def test_on_a_chain_all_that_is_held_twice_goes(plan: Plan) -> None:
    with new_stack() as stack:
        made = build(stack, plan)
        *above, last = plan.layers
        apply_dedup(plan_dedup(made[last]))
        gone: set[int] = set()
        for name in reversed(above):
            layer = Layer(stack / name)
            # A task that is missing between two layers is another one in the older of them.
            gone |= set(PIDS) - plan.layers[name].spec.own.keys()
            for pid, own in plan.layers[name].spec.own.items():
                twice = set() if pid in gone else own & plan.layers[last].spec.own.get(pid, set())
                shares = [share for share in resolve(layer.chain(), pid).shares if share.layer.name == name]
                assert (shares[0].punched if shares else PageRuns.empty()) == runs(twice)
                for page in own - twice:
                    if resolve_naively(plan, name, pid, page) == name:
                        assert read_page(layer, pid, page) == content(plan.layers[name].tag, pid, page)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """1 ← 2 ← 3, and 4 on 1: 3 holds pages 1 and 2, 4 needs page 2 of layer 1."""
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2, 3}}), "1", tag=2)
    make(tmp_path, "3", Spec({7: {1, 2}}, {7: {3}}), "2", tag=3)
    make(tmp_path, "4", Spec({7: {1}}, {7: {2, 3}}), "1", tag=4)
    return tmp_path


def test_the_dry_run_says_what_it_frees_and_costs_and_changes_nothing(stack: Path) -> None:
    def state() -> dict[Path, tuple[int, ...]]:
        found = {path: path.lstat() for path in stack.rglob("*")}
        return {path: (it.st_ino, it.st_size, it.st_blocks, it.st_mtime_ns, it.st_ctime_ns) for path, it in found.items()}

    before = state()
    plan = plan_dedup(Layer(stack / "3"))
    assert state() == before
    assert [(cut.layer.name, cut.pages_file, list(cut.ranges)) for cut in plan.cuts] == [
        ("2", "pages-1.img", [(0, PAGE)]),
        ("1", "pages-1.img", [(0, PAGE)]),
    ]
    assert (plan.pages, plan.bytes_freed) == (2, 2 * PAGE)
    assert [layer.name for layer in plan.losing] == ["2", "1"]


def test_what_it_leaves_behind(stack: Path) -> None:
    assert apply_dedup(plan_dedup(Layer(stack / "3"))) == 2 * PAGE
    first, second = Layer(stack / "1"), Layer(stack / "2")
    assert first.sidecar is not None
    assert dict(first.sidecar.punched) == {"pages-1.img": PageRuns.of([(0, PAGE)])}
    assert first.sidecar.punched_by == ("3",)
    assert (summary_of(first).restorable, summary_of(first).why_not) == (False, "punched by 3")
    assert covered(first, 7) == runs({2, 3})
    assert covered(second, 7) == runs({2, 3})
    for name in ("3", "4"):
        require_whole(Layer(stack / name), contents=True)
    for layer, what in ((first, "1 of its pages was punched by 3"), (second, "1 of its pages was punched by 3")):
        with pytest.raises(ImageError) as caught:
            require_whole(layer, contents=True)
        assert str(caught.value).startswith(f"cannot restore layer {layer.path}: pagemap-7.img: {what}")
        assert "\n" not in str(caught.value)
    os.stat(first.pages_path(7))
    assert first.pages_path(7).stat().st_size == 3 * PAGE


def test_a_layer_that_owns_nothing_punched_but_needs_it_is_marked_too(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1}}))
    make(tmp_path, "2", Spec({7: set()}, {7: {1}}), "1")
    make(tmp_path, "3", Spec({7: {1}}), "2")
    plan = plan_dedup(Layer(tmp_path / "3"))
    assert [layer.name for layer in plan.losing] == ["2", "1"]
    apply_dedup(plan)
    assert summary_of(Layer(tmp_path / "2")).why_not == "punched by 3"
    with pytest.raises(ImageError, match="1 page it needs of 1 was punched by 3"):
        require_whole(Layer(tmp_path / "2"))


def test_pre_dumps_lose_pages_without_losing_anything(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2}}), pre_dump=True)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1")
    plan = plan_dedup(Layer(tmp_path / "2"))
    assert (plan.pages, plan.losing) == (1, ())
    apply_dedup(plan)
    require_whole(Layer(tmp_path / "2"), contents=True)


def test_a_layer_of_criu_gets_a_sidecar_when_it_is_changed(stack: Path) -> None:
    (stack / "1" / SIDECAR).unlink()
    apply_dedup(plan_dedup(Layer(stack / "3")))
    sidecar = Layer(stack / "1").sidecar
    assert sidecar is not None
    assert (sidecar.made_by, sidecar.restorable, sidecar.why_not) == ("criu", False, "punched by 3")
    require_whole(Layer(stack / "3"))


def test_death_after_the_record_is_made_good_by_the_next_dedup(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_fd: int, ranges: PageRuns) -> None:
        if int(ranges.starts[0]) < PAGE:  # not the trial behind the end
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dedup, "punch", dies)
        apply_dedup(plan_dedup(Layer(stack / "3")))
    assert not summary_of(Layer(stack / "1")).restorable
    assert check_chain(Layer(stack / "4"), contents=True) == []
    assert check_chain(Layer(stack / "3"), contents=True) == []
    again = plan_dedup(Layer(stack / "3"))
    assert (again.pages, again.losing) == (2, ())
    assert apply_dedup(again) == 2 * PAGE
    assert check_chain(Layer(stack / "4"), contents=True) == []
    assert plan_dedup(Layer(stack / "3")).cuts == ()


def test_refusals_change_nothing(stack: Path) -> None:
    before = {path: path.stat().st_blocks for path in stack.rglob("*")}
    with pytest.raises(ImageError, match="it has no parent"):
        plan_dedup(Layer(stack / "1"))
    plan = plan_dedup(Layer(stack / "3"))
    with locked(stack), pytest.raises(BusyError, match=f"process {os.getpid()}"):
        apply_dedup(plan)
    with pytest.raises(ImageError, match="changed since the dry run"):
        apply_dedup(replace(plan, cuts=plan.cuts[:1]))
    (stack / "4" / "pagemap-7.img").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"pagemap-7\.img"):
        plan_dedup(Layer(stack / "3"))
    (stack / "4" / "inventory.img").write_bytes(b"broken")
    with pytest.raises(ImageError, match="what 4 needs of it is not known"):
        plan_dedup(Layer(stack / "3"))
    shutil.rmtree(stack / "4")
    with (stack / "3" / "pages-1.img").open("r+b") as file:
        file.write(b"flipped")
    with pytest.raises(ImageError, match=r"3/pages-1\.img: its content changed"):
        apply_dedup(plan_dedup(Layer(stack / "3")))
    left = {path: path.stat().st_blocks for path in stack.rglob("*")}
    assert {path: blocks for path, blocks in before.items() if path.parts[-2] != "4" and path.name != "4"} == left


def test_punched_by_another_tool_is_said(stack: Path) -> None:
    subprocess.run(["fallocate", "--punch-hole", "-o", "0", "-l", "4096", stack / "1" / "pages-1.img"], check=True)
    (stack / "2" / SIDECAR).unlink()
    assert check_chain(Layer(stack / "2")) == []  # it holds that page itself
    found = [str(it) for it in check_chain(Layer(stack / "1"))]
    assert found == [f"{stack}/1/pagemap-7.img: 1 of its pages was punched by another tool (the first at {address(1):#x})"]


def test_a_sparse_copy_of_zero_pages_is_no_punch(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2}}))
    sidecar = layer.sidecar
    assert sidecar is not None
    with layer.pages_path(7).open("r+b") as file:
        file.write(bytes(PAGE))
        file.flush()
        from lamina.core.image.sums import sum_file

        replace(sidecar, checksums={**sidecar.checksums, "pages-1.img": sum_file(file.fileno())}).store(layer.directory)
    assert check_chain(Layer(layer.path), contents=True) == []
    subprocess.run(["fallocate", "--punch-hole", "-o", "0", "-l", "4096", layer.pages_path(7)], check=True)
    assert check_chain(Layer(layer.path), contents=True) == []
