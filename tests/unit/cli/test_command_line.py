"""Words to options, values to text and JSON, and whatever happens to one line and a status. No target, no engine."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.core.cli import entry, options
from lamina.core.cli.entry import parse, run
from lamina.core.cli.output import Output, as_json, duration, pages, size, table
from lamina.core.errors import BusyError, Cancelled, LaminaError, RefusedError
from lamina.core.events import CancelToken, Notice, Progress

Failing = Callable[[BaseException], None]


def test_long_and_short_names_mean_the_same() -> None:
    words = ["--track-mem", "--prev-images-dir", "../1"]
    long = parse(["dump", "--tree", "7", "--images-dir", "S/2", "--leave-running", "--shell-job", *words])
    short = parse(["dump", "-t", "7", "-D", "S/2", "-R", "-j", *words])
    assert vars(long) == vars(short)
    assert long.tree == 7 and long.images_dir == Path("S/2") and long.leave_running and long.prev_images_dir == "../1"


def test_verbosity_as_criu_has_it() -> None:
    assert parse(["ps", "-v4"]).verbosity == parse(["ps", "-v", "-v", "-v", "-v"]).verbosity == 4


def test_no_verb_is_the_screen() -> None:
    args = parse(["--stack", "S"])
    assert args.verb is None and args.stack == Path("S") and not args.demo


@pytest.mark.parametrize("words", [["dump"], ["dump", "-t", "-4", "-D", "x"], ["restore"], ["stack"], ["unknown"], ["ps", "--unknown"]])
def test_wrong_usage_is_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(words)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1


def test_every_verb_has_its_function_and_json() -> None:
    for verb in options.VERBS:
        assert callable(options.handler(verb))
        assert "--json" in next(a for a in options.build_parser()._actions if a.dest == "verb").choices[verb].format_help()  # type: ignore[index]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Failing:
    """Makes `lamina ps` raise what the test wants."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def install(error: BaseException) -> None:
        def verb(_args: object, _output: Output, _cancel: CancelToken) -> int:
            raise error

        monkeypatch.setattr(entry, "handler", lambda _verb: verb)

    return install


@pytest.mark.parametrize(
    "error",
    [
        LaminaError("cannot dump", "process 7", "it is\ngone", "try another"),
        BusyError("cannot dump", "process 7", "held by lamina, process 8"),
        RefusedError("cannot dump", "process 7"),
        Cancelled("dump of 7", why="cancelled; nothing was changed"),
        ValueError("two\nlines"),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("json_wanted", [False, True], ids=["text", "json"])
def test_any_error_is_one_line_and_status_1(
    error: BaseException, json_wanted: bool, failing: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert run(parse(["ps", *(["--json"] if json_wanted else [])])) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and "Traceback" not in said.err
    if json_wanted:
        assert json.loads(said.out)["error"]["message"]
    else:
        assert said.out == ""


def test_the_traceback_of_a_bug_is_in_the_log(failing: Failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ZeroDivisionError("a bug"))
    log = tmp_path / "my.log"
    assert run(parse(["ps", "-o", str(log)])) == 1
    assert str(log) in capsys.readouterr().err
    assert "Traceback" in log.read_text() and "ZeroDivisionError: a bug" in log.read_text()


def test_a_log_that_cannot_be_written_does_not_hide_the_error(failing: Failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(LaminaError("cannot dump"))
    assert run(parse(["ps", "-o", "/nowhere/at/all.log"])) == 1
    assert capsys.readouterr().err == "lamina: cannot dump\n"


def test_sizes_for_eyes() -> None:
    assert [size(n) for n in (0, 1023, 1024, 3.2 * 2**20, 5 * 2**40)] == ["0 B", "1023 B", "1.0 KiB", "3.2 MiB", "5.0 TiB"]
    assert pages(1) == "1 page (4.0 KiB)" and pages(1912) == "1,912 pages (7.5 MiB)"
    assert [duration(us) for us in (840, 3800, 1_210_000)] == ["840 µs", "3.8 ms", "1.21 s"]


def test_columns() -> None:
    assert table(("A", "LONG"), [("1", "x"), ("22", "")], right=frozenset({0})) == " A  LONG\n 1  x\n22"
    assert table(("A", "B"), [("x\x1b[2J", "\x9b31m\nlabel"), ("├─ 3", "é")]) == "A         B\nx\\x1b[2J  \\x9b31m label\n├─ 3      é"


@dataclass(frozen=True)
class _Value:
    path: Path
    blob: bytes
    names: frozenset[str]
    inner: tuple["_Value", ...] = ()


def test_values_as_json() -> None:
    value = _Value(Path("S/1"), b"\x01\xff", frozenset({"b", "a"}), (_Value(Path(), b"", frozenset()),))
    assert json.loads(as_json(value)) == {
        "path": "S/1", "blob": "01ff", "names": ["a", "b"], "inner": [{"path": ".", "blob": "", "names": [], "inner": []}],
    }  # fmt: skip


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_live_line_only_on_a_terminal(tmp_path: Path) -> None:
    for stream, live in ((_Terminal(), True), (io.StringIO(), False)):
        output = Output(False, tmp_path / "log", io.StringIO(), stream)
        output.listen(Progress("write", 5, 10, 20480, 1000))
        assert ("write" in stream.getvalue()) is live
        output.listen(Notice("the tracker was lost"))
        assert stream.getvalue().endswith("lamina: the tracker was lost\n")


@pytest.fixture(autouse=True)
def no_log_left_open() -> Iterator[None]:
    yield
    for handler in logging.getLogger("lamina").handlers:
        handler.close()
    logging.getLogger("lamina").handlers.clear()
