"""Any tree of layers, any sequence of verbs: what stays resolves as before, what is in the trash, too, and nothing is left lying about."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.rewrite.drop import plan_drop
from lamina.core.rewrite.plan import Plan as Change
from lamina.core.rewrite.plan import apply
from lamina.core.rewrite.prune import Candidate, Policy, kept_by, plan_prune
from lamina.core.rewrite.squash import plan_squash
from lamina.core.rewrite.undo import entry_name, plan_empty, plan_undo
from lamina.core.verify import check_chain
from tests.unit.image.stacks import Plan, build, new_stack, plans
from tests.unit.rewrite.memories import leftovers, memory_of

Memories = dict[str, dict[tuple[object, int], bytes | None]]


def by_id(stack: Path) -> Memories:
    """What every layer resolves to, dropped ones too, by its id; all are whole."""
    found = Stack.open(stack)
    assert found.unreadable == ()
    memories = {}
    for layer in (*found.layers, *found.trashed):
        fresh = Layer(layer.path)
        assert fresh.sidecar is not None and check_chain(fresh, contents=True) == []
        memories[fresh.sidecar.layer_id] = memory_of(fresh)
    return memories


def change(stack: Path, data: st.DataObject) -> Change | None:
    """A change that makes sense now, or None."""
    found = Stack.open(stack)
    names = [layer.name for layer in found.layers]
    verb = data.draw(st.sampled_from(["drop", "squash", "undo", "empty", "prune"]))
    if verb == "drop" and names:
        return plan_drop([Layer(stack / name) for name in data.draw(st.sets(st.sampled_from(names), min_size=1))])
    if verb == "squash" and names:
        last = Layer(stack / data.draw(st.sampled_from(names)))
        above = [layer.name for layer in last.chain()[1:]]
        return plan_squash(Layer(stack / data.draw(st.sampled_from(above))), last) if above else None
    trashed = [entry_name(layer) for layer in found.trashed]
    if verb == "undo" and trashed:
        return plan_undo(stack, data.draw(st.none() | st.sampled_from(trashed)))
    if verb == "empty" and trashed:
        return plan_empty(stack, data.draw(st.sampled_from(trashed)))
    if verb == "prune" and names:
        return plan_prune(stack, Policy(data.draw(st.integers(0, 3)), data.draw(st.none() | st.integers(1, 3)))).plan
    return None


@settings(max_examples=100, deadline=None)
@given(plan=plans(), data=st.data())
def test_what_stays_resolves_as_before(plan: Plan, data: st.DataObject) -> None:
    with new_stack() as stack:
        build(stack, plan)
        expected = by_id(stack)
        for _ in range(data.draw(st.integers(1, 5))):
            planned = change(stack, data)
            if planned is None:
                continue
            for_good = {layer.sidecar.layer_id for layer in (*planned.removed, *planned.emptied) if layer.sidecar}
            apply(planned)
            expected = {layer_id: memory for layer_id, memory in expected.items() if layer_id not in for_good}
            assert by_id(stack) == expected
            assert leftovers(stack) == []


@settings(max_examples=60, deadline=None)
@given(plan=plans(), data=st.data())
def test_a_limit_on_size_is_kept_or_said(plan: Plan, data: st.DataObject) -> None:
    with new_stack() as stack:
        build(stack, plan)
        before = by_id(stack)
        if data.draw(st.booleans()):
            apply(plan_drop([Layer(stack / data.draw(st.sampled_from(sorted(plan.layers))))]))
        limit = data.draw(st.integers(0, 40)) << 14
        planned = plan_prune(stack, Policy(max_bytes=limit))
        assert planned.bytes_after <= limit or planned.over == planned.bytes_after - limit
        apply(planned.plan)
        after = by_id(stack)
        assert all(before[layer_id] == memory for layer_id, memory in after.items())
        newest = max(planned.verdicts, key=lambda it: it.time) if planned.verdicts else None
        assert newest is None or newest.kept_by
        if planned.over:
            assert len(Stack.open(stack).layers) == 1 and not Stack.open(stack).trashed
        # The estimate counts pages, the file system blocks: sidecars may grow by one.
        used = sum(path.lstat().st_blocks * 512 for path in stack.glob("*/*") if path.is_file() and not path.is_symlink())
        assert used <= planned.bytes_after + 8192 * len(plan.layers)


TIMES = st.lists(st.tuples(st.integers(0, 10_000), st.booleans(), st.booleans()), max_size=20)


@given(times=TIMES, last=st.none() | st.integers(0, 5), every=st.none() | st.integers(1, 3000))
def test_the_rules(times: list[tuple[int, bool, bool]], last: int | None, every: int | None) -> None:
    candidates = [Candidate((number,), float(time), pinned, whole) for number, (time, pinned, whole) in enumerate(times)]
    rules = kept_by(candidates, Policy(last, every))
    assert set(rules) == {it.key for it in candidates}
    points = [it for it in candidates if it.restorable]
    kept = [it for it in points if "keep-last" in rules[it.key]]
    assert len(kept) == min(last or 0, len(points))
    assert all(it.time <= keep.time for it in points if it not in kept for keep in kept)
    if every is not None:
        periods = [it.time // every for it in points if "keep-every" in rules[it.key]]
        assert sorted(periods) == sorted({it.time // every for it in points})
    assert all(rules[it.key] for it in candidates if it.pinned)
    assert not candidates or sum("newest" in names for names in rules.values()) == 1


def test_pruning_twice_does_nothing_the_second_time() -> None:
    from tests.unit.rewrite.test_changes import chain_of

    with new_stack() as stack:
        chain_of(stack, 6)
        apply(plan_prune(stack, Policy(2)).plan)
        again = plan_prune(stack, Policy(2)).plan
        assert not again.dropped and not again.rewritings
        with_trash = plan_prune(stack, Policy(2, max_bytes=0))
        assert len(with_trash.plan.emptied) == 4, "what prune dropped counts until it is emptied, and a limit empties it"
