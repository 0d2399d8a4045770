"""Every verb that changes a stack, dead before each change that it makes: nothing is lost, and the next command finishes or tidies up."""

import shutil
from pathlib import Path

import pytest

from lamina.core.cli.entry import main
from tests.live.harness import full
from tests.unit.image.layers import Spec, make
from tests.unit.image.stacks import new_stack
from tests.unit.rewrite.dying import dies_at
from tests.unit.rewrite.surviving import VERBS, Verb, known_layers, leftovers_of, require_all, shape_of

# Every change under `make live`, else a few, others for each verb.
STRIDE = full(1, 31)


def lamina(*words: object) -> None:
    assert main([*(str(word) for word in words), "--json"]) == 0, words


def build(stack: Path) -> None:
    """1 ← 2 ← 3 ← 4 ← 5 ← 6, 3b on 3, and old, on 4, in the trash. Each rewrites page 0 and has a page of its own."""
    make(stack, "1", Spec({7: {0, 1, *range(20, 60)}, 8: {3}}), tag=1)
    for number in range(2, 7):
        inherited = {7: {*range(1, number), *range(20, 60)}, 8: {3}}
        make(stack, str(number), Spec({7: {0, number}}, inherited), str(number - 1), tag=number)
    make(stack, "3b", Spec({7: {0, 5}}, {7: {1, 2, 3, 30}}), "3", tag=7)
    make(stack, "old", Spec({7: {0}}, {7: {2, 3, 4, 20}, 8: {3}}), "4", tag=8)
    lamina("drop", stack / "old")


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "log"))


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name.replace(" ", "-"))
def test_dead_before_each_change(verb: Verb) -> None:
    with new_stack() as base:
        stack, untouched = base / "S", base / "untouched"
        build(stack)
        for words in verb.before(stack):
            lamina(*words)
        known = known_layers(stack)
        shutil.copytree(stack, untouched, symlinks=True)
        lamina(*verb.words(stack))
        require_all(stack, known, verb)
        done = shape_of(stack)
        change = 1 + VERBS.index(verb) % min(STRIDE, 4)
        while True:
            shutil.rmtree(stack)
            shutil.copytree(untouched, stack, symlinks=True)
            if not dies_at(lambda: lamina(*verb.words(stack)), change):
                break
            require_all(stack, known, verb)
            lamina("label", stack / "3b" if (stack / "3b").exists() else stack / "6", "swept")
            assert leftovers_of(stack) == [], f"after change {change}"
            require_all(stack, known, verb)
            if main([str(word) for word in verb.words(stack)]):
                # It had done its work, or the part of it that can be named, and says that what is named is not there (any more).
                assert shape_of(stack) == done or set(shape_of(stack)) != set(shape_of(untouched)), f"after change {change}"
            require_all(stack, known, verb)
            change += STRIDE
        assert change > STRIDE, "it made hardly a change"
