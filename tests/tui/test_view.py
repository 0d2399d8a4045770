"""What a pane shows, as a file."""

import csv
import json
from pathlib import Path

import pytest

from lamina.tui.model.view import View, free_name, why_not

ROWS = View("layers", titles=("LAYER", "LABEL"), rows=(("1", 'after "import", late'), ("12", "")))
LINES = View("map", ("heap ░░▒", "stack .*"))


def test_rows_come_back_from_csv_and_json() -> None:
    assert list(csv.reader(ROWS.as_file(".csv").splitlines())) == [["LAYER", "LABEL"], ["1", 'after "import", late'], ["12", ""]]
    assert json.loads(ROWS.as_file(".json")) == [{"layer": "1", "label": 'after "import", late'}, {"layer": "12", "label": ""}]


def test_exact_values_win_over_what_is_shown() -> None:
    view = View("layers", titles=("PAGES",), rows=(("1.9 k",),), records=({"pages": 1912, "path": Path("/s/1")},))
    assert json.loads(view.as_file(".json")) == [{"pages": 1912, "path": "/s/1"}]


def test_text_has_columns_or_is_the_lines() -> None:
    assert ROWS.as_file(".txt").splitlines() == ["LAYER  LABEL", '1      after "import", late', "12"]
    assert LINES.as_file(".txt") == "heap ░░▒\nstack .*\n"


@pytest.mark.parametrize(("name", "why"), [("a.csv", ""), ("a.svg", ""), ("a", "the name ends in .csv"), ("b/a.csv", "no directory")])
def test_a_name_must_say_how(name: str, why: str, tmp_path: Path) -> None:
    assert why in why_not(str(tmp_path / name), ROWS)
    assert (why_not(str(tmp_path / name), ROWS) == "") == (why == "")


def test_no_file_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_name(ROWS, "stack") == "lamina-stack-layers.csv"
    Path("lamina-stack-layers.csv").touch()
    assert free_name(ROWS, "stack") == "lamina-stack-layers-2.csv"
    assert "already" in why_not("lamina-stack-layers.csv", ROWS)
    assert free_name(View("jobs", ("a",)), "jobs") == "lamina-jobs.txt"
