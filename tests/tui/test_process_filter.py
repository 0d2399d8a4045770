"""What is typed above the processes finds what is meant, and nothing that is typed is an error."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.tui.model.process_filter import parse_filter, searchable

PROGRAMS = {
    1: ("systemd", ("/sbin/init", "--deserialize")),
    471: ("sshd", ("sshd: root [priv]",)),
    4711: ("redis-server", ("redis-server", "*:6379")),
    4840: ("vim", ("vim", "+4711", "a b.txt")),
}
PLACES = [(pid, searchable(pid, *of)) for pid, of in PROGRAMS.items()]


def found(line: str) -> set[int]:
    wanted = parse_filter(line)
    assert wanted is not None
    return wanted.hits(PLACES)


@pytest.mark.parametrize(
    ("line", "hits"),
    [
        ("REDIS", {4711}),
        ("6379", {4711}),
        ("471", {471, 4711, 4840}),
        ("^471$", {471}),
        ("^(vim|sshd)$", {471, 4840}),
        (r"\+\d+ ", {4840}),
        ("!s", {4840}),
        ("!^r", {1, 471, 4840}),
        ("-f rdsv", {4711}),
        ("-f r d s v", {4711}),
        ("!-f rdsv", {1, 471, 4840}),
        ("*:6379", {4711}),  # no regular expression, and what stands there
        ("[priv]", {471, 1, 4711, 4840}),  # one of these letters, and what stands there
        ("a b.txt", {4840}),
        ("nginx", set()),
    ],
)
def test_kinds_of_filters(line: str, hits: set[int]) -> None:
    assert found(line) == hits


@pytest.mark.parametrize("line", ["", "  ", "!", "! ", "-f", "!-f "])
def test_signs_alone_filter_nothing(line: str) -> None:
    assert parse_filter(line) is None


def test_what_is_no_regular_expression_says_so_and_is_text() -> None:
    wanted = parse_filter("a[b")
    assert wanted and wanted.kind == "text" and wanted.problem == "no regex: unterminated character set"
    assert wanted.hits([(7, "xa[bx"), (8, "ab")]) == {7}


@given(st.text(max_size=12), st.text(max_size=30))
def test_anything_may_be_typed_and_a_literal_part_is_always_found(line: str, rest: str) -> None:
    wanted = parse_filter(line)
    if wanted is None:
        return
    hits = wanted.hits([(1, searchable(1, rest, (f"x{wanted.wanted}x",)))])
    one_line = " ".join(wanted.wanted.split()) == wanted.wanted
    assert hits == (set() if wanted.inverse else {1}) or not one_line


def test_ten_thousand_long_lines_take_a_moment_for_every_kind() -> None:
    places = [(pid, searchable(pid, f"worker-{pid}", ("/usr/lib/worker", "a" * 300))) for pid in range(10_000)]
    for line in ("worker-77", "^work.*77$", "-f wrk77", "!-f aaaaaaaab"):
        wanted = parse_filter(line)
        assert wanted
        began = time.process_time()
        assert wanted.hits(places)
        assert time.process_time() - began < 1
