"""The graph of a stack."""

from pathlib import Path

from lamina.tui.model.lanes import draw_lanes
from lamina.tui.model.layers import LayerRow, in_order


def drawn(layers: list[tuple[str, str | None]]) -> list[str]:
    return [lane.rstrip() for lane in draw_lanes(layers)]


def test_a_chain_is_one_lane() -> None:
    assert drawn([("3", "2"), ("2", "1"), ("1", None)]) == ["●", "●", "●"]


def test_a_branch_joins_where_it_began() -> None:
    layers = [("5", "4"), ("4", "3"), ("3b", "3"), ("3", "2"), ("2", None)]
    assert drawn(layers) == ["●", "●", "│ ●", "●─╯", "●"]


def test_two_branches_of_one_layer() -> None:
    assert drawn([("c", "a"), ("b", "a"), ("d", "a"), ("a", None)]) == ["●", "│ ●", "│ │ ●", "●─┴─╯"]


def test_a_lane_passes_a_join_that_is_not_its_own() -> None:
    assert drawn([("x", "b"), ("y", "a"), ("z", "b"), ("b", "a"), ("a", None)]) == ["●", "│ ●", "│ │ ●", "●─┼─╯", "●─╯"]


def test_stacks_without_a_common_layer_stand_below_each_other() -> None:
    assert drawn([("2", "1"), ("1", None), ("b", None)]) == ["●", "●", "●"]


def test_all_cells_are_of_one_width() -> None:
    assert len({len(lane) for lane in draw_lanes([("c", "a"), ("b", "a"), ("a", None)])}) == 1


def test_a_wrong_clock_never_puts_a_parent_above_its_child() -> None:
    one, two = Path("/s/1"), Path("/s/2")
    rows = [LayerRow(one, "1", None, time=900.0), LayerRow(two, "2", one, time=100.0)]
    assert [row.name for row in in_order(rows)] == ["2", "1"]
