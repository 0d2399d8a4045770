"""Settings: who wins, what is refused and how, what is written, and that the screen does as it was told."""

import argparse
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import UsageError
from lamina.tui.__main__ import main
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.keys import keymap
from lamina.tui.keys.rebinding import bindings_by_name
from lamina.tui.model.session import Session
from lamina.tui.model.settings import OPTIONS, OwnCommand, Settings
from lamina.tui.paths import stacks_root
from lamina.tui.settings.config import BY_OPTION, USUAL, configure, user_file
from tests.tui.waiting import type_ahead, until


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's file is the test's, too; no variable of the developer's is seen."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    for name in [name for name in os.environ if name.startswith("LAMINA_") and name != "LAMINA_STATE_DIR"]:
        monkeypatch.delenv(name)
    return tmp_path


def write(text: str, file: Path | None = None) -> Path:
    place = file or user_file()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"theme": None, "ascii": False, "no_mouse": False, "readonly": False} | given)


def test_options_win_over_variables_over_the_users_file_over_the_systems(own_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configure(options()).settings == Settings()
    system = write('theme = "nord"\nrefresh = 5\nmouse = false\nreadonly = true', own_files / "etc/lamina/config.toml")
    user = write('theme = "dracula"\nrefresh = 10\nascii = "auto"')
    monkeypatch.setenv("LAMINA_REFRESH", "1.5")
    monkeypatch.setenv("LAMINA_READONLY", "off")
    found = configure(options(ascii=True))
    assert found.settings == Settings(theme="dracula", ascii=True, mouse=False, readonly=False, refresh=1.5)
    assert (found.origin["mouse"], found.origin["theme"]) == (str(system), str(user))
    assert (found.origin["refresh"], found.origin["ascii"], found.origin["columns"]) == ("$LAMINA_REFRESH", BY_OPTION, USUAL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thme = 1", "there is no setting thme (did you mean theme?)"),
        ("mouse = 'no way'", "mouse = 'no way' (it takes true or false)"),
        ("refresh = 0.01", "refresh = 0.01 (it takes seconds from 0.5 to 60)"),
        ("refresh = true", "refresh = True (it takes seconds from 0.5 to 60)"),
        ("stacks = 'here'", "stacks = 'here' (it takes \"auto\" or an absolute directory)"),
        ("theme = 'lamina-lite'", "there is no theme lamina-lite (did you mean lamina-light?)"),
        ("columns = ['PID', 'SIZE']", "there is no column SIZE (columns are PID, "),
        ("theme =", "not TOML: "),
        ("[keys]\n'target.damp' = 'd'", "there is no action target.damp (did you mean target.dump?)"),
        ("[keys]\n'target.dump' = 'hyper'", "target.dump: there is no key hyper (keys are as in d, F"),
        ("[keys]\n'target.dump' = 't'", "target.dump and target.track would both be on t (give target.track another key)"),
        ("[keys]\n'stack.restore' = 'd'", "stack.restore and target.dump would both be on d"),
        ("[[commands]]\nkey = 'd'\nrun = 'true'", "app.true and "),
        ("[[commands]]\nkey = 'f8'\nrun = 'gdb {process}'", "in run {pid}, {stack} and {layer})"),
        ("[[commands]]\nkey = 'f8'\nrun = 'gdb {pid:05d}'", "in run {pid}, {stack} and {layer})"),
        ("[[commands]]\nkey = 'f8'\nrun = ' '", "it takes [[commands]] with run and key"),
        (f"refresh = 1{'0' * 400}", "it takes seconds from 0.5 to 60"),
        ("stacks = '~nobody-is-called-so/stacks'", 'it takes "auto" or an absolute directory'),
        ("[keys]\n'target.dump' = ['d']", "(it takes a table such as [keys] with "),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(text)
    with pytest.raises(UsageError) as refused:
        configure()
    assert str(refused.value).startswith(f"cannot use {file}: ") and said in str(refused.value)
    assert main(["config"]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"lamina: {refused.value}\n" and printed.out == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_a_stranger_gives_root_no_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("[[commands]]\nkey = 'f8'\nrun = 'id'")
    os.chown(file, 4711, -1)
    with pytest.raises(UsageError, match="it belongs to user 4711, whose commands would run with your rights"):
        configure()
    monkeypatch.setenv("SUDO_UID", "4711")
    assert configure().settings.commands


def test_a_link_is_not_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, precious = write("refresh = 5"), tmp_path / "precious"
    precious.write_text("kept")
    file.with_suffix(".toml.before").symlink_to(precious)
    assert main(["config", "--write"]) == 0
    assert precious.read_text() == "kept" and file.with_suffix(".toml.before").read_text() == "refresh = 5"
    assert {name.name for name in file.parent.iterdir()} == {"config.toml", "config.toml.before"}


def test_a_variable_or_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    user_file().mkdir(parents=True)
    with pytest.raises(UsageError, match=f"cannot read {user_file()}: Is a directory"):
        configure()
    user_file().rmdir()
    monkeypatch.setenv("LAMINA_MOUSE", "maybe")
    with pytest.raises(UsageError, match=r"cannot use \$LAMINA_MOUSE: mouse = 'maybe'"):
        configure()


def test_what_is_written_is_read_again_and_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    own = '[[commands]]\nname = "dbg"\nkey = "f8"\nrun = "gdb -p {pid}"\n'
    write(f'theme = "nord"\ncolumns = ["PID", "NAME"]\n[keys]\n"target.dump" = "d,f5"\n{own}')
    before = configure().settings
    assert main(["config", "--write"]) == 0
    assert configure().settings == before
    assert before.commands == (OwnCommand("dbg", "gdb -p {pid}", "f8"),)
    text = user_file().read_text()
    assert set(tomllib.loads(text)) == {"theme", "columns", "keys", "commands"}
    assert all(f"{option.name} = " in text and option.takes in text for option in OPTIONS if option.variable)
    assert user_file().with_name("config.toml.before").read_text().startswith('theme = "nord"\ncolumns')
    # As it comes: every setting there, none changed, and all of it right once it is uncommented.
    user_file().unlink()
    assert main(["config", "--write"]) == 0
    assert configure().settings == Settings()
    bare = "\n".join(line.removeprefix("# ") for line in user_file().read_text().splitlines() if " = " in line or "[" in line[:4])
    write(bare)
    assert configure().settings.commands and configure().settings.keys
    capsys.readouterr()
    assert main(["config", "--keys"]) == 0
    assert "target.dump" in capsys.readouterr().out


def test_every_key_has_a_name() -> None:
    assert {"app", "pane", "target", "process", "stack", "map"} < set(keymap.CONTEXTS)
    assert len(bindings_by_name()) == sum(len(keys) for keys in keymap.CONTEXTS.values())


async def test_the_screen_does_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_STACKS", str(tmp_path / "stacks"))
    assert stacks_root() == tmp_path / "stacks"
    settings = Settings(
        theme="lamina-contrast", columns=("NAME", "PID"), keys={"app.jobs": "f9,5", "app.help": "f2"},
        commands=(OwnCommand("touch", f"touch {tmp_path}/{{pid}}", "f8"),),
    )  # fmt: skip
    app = LaminaApp(Session(settings=settings))
    async with app.run_test(size=(100, 30)) as pilot:
        await until(lambda: app.processes._list.rows)
        assert app.theme == "lamina-contrast"
        assert "".join(segment.text for segment in app.processes._list.render_line(0)).split()[:2] == ["NAME", "PID"]
        await pilot.press("f9")
        await until(lambda: app.current_mode == "jobs")
        await pilot.press("f8")
        await until(lambda: any("there is no pid" in entry.text for entry in app.notices.log))
        await pilot.press("f2")
        await until(lambda: type(app.screen).__name__ == "HelpScreen")


async def test_theme_and_columns_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    write("refresh = 5")
    monkeypatch.setenv("LAMINA_MOUSE", "off")  # which is of this time only
    app = LaminaApp(Session(settings=configure().settings))
    async with app.run_test(size=(100, 30)):
        app.processes.show_columns(("NAME", "RSS"))
        await until(lambda: app.focused is app.processes._list)
        type_ahead(app, ":theme contrast\r")
        await until(lambda: app.theme == "lamina-contrast" and app.focused is app.processes._list)
        type_ahead(app, ":write\r")
        await until(lambda: "theme" in tomllib.loads(user_file().read_text()))
    assert tomllib.loads(user_file().read_text()) == {"refresh": 5.0, "theme": "lamina-contrast", "columns": ["NAME", "RSS"]}
