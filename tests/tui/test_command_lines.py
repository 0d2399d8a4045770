"""The command line shown with an operation does the same: the command line's own parser reads it back."""

from pathlib import Path

from lamina.core import cli
from lamina.core.dump.request import DumpRequest
from lamina.core.dump.rhythm import Rhythm
from lamina.core.restore.request import RestoreRequest
from lamina.tui.operations import command_lines


def parsed(line: str) -> object:
    import shlex

    words = shlex.split(line)
    assert words[0] == "lamina"
    return cli.parse(words[1:])


def test_a_dump() -> None:
    request = DumpRequest(4711, Path("/s/my shots/2"), "../1", leave_running=True, track_mem=True)
    args = vars(parsed(command_lines.dump_line(request)))
    for name in ("images_dir", "prev_images_dir", "leave_running", "track_mem", "shell_job"):
        assert args[name] == getattr(request, name)
    assert (args["verb"], args["tree"]) == ("dump", 4711)


def test_a_final_dump_of_a_shell_job() -> None:
    args = vars(parsed(command_lines.dump_line(DumpRequest(7, Path("/s/1"), shell_job=True))))
    assert (args["leave_running"], args["track_mem"], args["shell_job"], args["prev_images_dir"]) == (False, False, True, None)


def test_a_restore() -> None:
    args = vars(parsed(command_lines.restore_line(RestoreRequest(Path("/s/2"), detach=True, replace=True))))
    assert (args["verb"], args["images_dir"], args["restore_detached"], args["replace"]) == ("restore", Path("/s/2"), True, True)


def test_timed_layers() -> None:
    rhythm = Rhythm(every_s=90, dirtied=1536 << 10, keep_last=20)
    args = vars(parsed(command_lines.every_line(7, Path("/s/my shots"), rhythm)))
    assert Rhythm(args["interval"], args["dirtied"], args["keep_last"]) == rhythm
    assert (args["verb"], args["tree"], args["images_dir"]) == ("every", 7, Path("/s/my shots"))
    assert vars(parsed(command_lines.every_line(7, Path("s"), Rhythm(dirtied=100))))["dirtied"] == 100
    drop, empty = command_lines.thin_line([Path("/s/1")]).split(" && ")
    assert vars(parsed(drop))["layers"] == ["/s/1"] and vars(parsed(empty))["empty"] == "1"


def test_a_program_in_a_terminal() -> None:
    words = ["my program", "-v4", "--json", "--stack", "x"]  # all of it is the program's
    args = vars(parsed(command_lines.run_line(words)))
    assert (args["verb"], args["command"], args["json"], args["verbosity"], args["stack"]) == ("run", words, False, 0, None)
    assert vars(cli.parse(["--stack", "S", "run", "top"]))["stack"] == Path("S")


def test_the_others() -> None:
    assert vars(parsed(command_lines.track_line(7)))["tree"] == 7
    assert vars(parsed(command_lines.untrack_line(7)))["verb"] == "untrack"
    assert vars(parsed(command_lines.dedup_line(Path("/s/3"), dry_run=True)))["dry_run"] is True
