"""Layers of real programs, carried away and put to rest: what comes back is restored and goes on."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.live.harness import Layers, Reaper, dump, lamina, need, restore
from tests.live.programs import Cells, Program

PAGE = 4096


class Middle(Cells):
    """Enough for several frames."""

    mib = 12
    pages_per_layer = 600


@pytest.fixture
def program(reaper: Reaper, tmp_path: Path) -> Program:
    return Middle.launch(reaper, tmp_path / "victim")


def three_of(program: Program, layers: Layers) -> list[Path]:
    """Three layers; the last ends the program."""
    found: list[Path] = []
    for last in (False, False, True):
        program.move_on()
        found.append(layers.new())
        before = program.victim.ask()
        dump(program.victim, found[-1], parent=found[-2] if len(found) > 1 else None, last=last)
        program.states[found[-1]] = (before, None)
    return found


def files_of(layer: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """Bytes, mode, time of change and blocks of every file."""
    infos = {path: path.lstat() for path in layer.iterdir() if path.is_file()}
    return {path.name: (path.read_bytes(), it.st_mode, it.st_mtime_ns, it.st_blocks) for path, it in infos.items()}


@pytest.mark.parametrize("options", [(), ("--flat",)], ids=["with parents", "flat"])
def test_exported_imported_elsewhere_and_restored(program: Program, layers: Layers, tmp_path: Path, options: tuple[str, ...]) -> None:
    need("zstd")
    stack = three_of(program, layers)
    archive, other = tmp_path / "away.tar.zst", tmp_path / "elsewhere"
    said = lamina("export", stack[2], "--output", archive, *options, "--json").json
    assert len(said["layers"]) == (1 if options else 3) and said["bytes_written"] == archive.stat().st_size
    refused = lamina("restore", "-D", archive, ok=False)
    assert refused.status == 1 and f"lamina import {archive} DIR" in refused.err
    subprocess.run(["zstd", "-q", "-t", archive], check=True)

    lamina("import", archive, other)
    for name in ("3",) if options else ("3", "1", "2"):
        layer = other / name
        program.states[layer] = program.states[stack[int(name) - 1]]
        program.victim.keep_files(layer)
        program.victim.hold()
        restore(program.victim, layer)
        program.same_as(layer, program.victim.ask())
        program.victim.go()
        program.work_for(0)


def test_an_archive_answers_as_the_stack_does(program: Program, layers: Layers, tmp_path: Path) -> None:
    stack = three_of(program, layers)
    pid = program.victim.pid
    need("zstd")
    lamina("export", stack[2], "--output", tmp_path / "ours.tar.zst")
    for name, options in (("plain.tar", []), ("one.tar.zst", ["--zstd"]), ("one.tar.gz", ["-z"])):
        subprocess.run(["tar", *options, "-cf", tmp_path / name, "-C", layers.path, "."], check=True)
    word = "cells"
    wanted = lamina("search", stack[2], word, "--json").json["hits"]
    for name in ("ours.tar.zst", "plain.tar", "one.tar.zst", "one.tar.gz"):
        archive = tmp_path / name
        assert lamina("verify", archive, "--json", ok=False).json["layers"][0]["findings"] == [], name
        assert lamina("show", archive, "--json").json
        found = lamina("search", archive, word, "--json").json["hits"]
        assert [it["address"] for it in found] == [it["address"] for it in wanted], name
        same = lamina("diff", archive, stack[2], "--json").json
        assert str(pid) in str(same)
        core = [tmp_path / f"{name}.core", tmp_path / "core"]
        for source, target in zip((archive, stack[2]), core, strict=True):
            target.unlink(missing_ok=True)
            lamina("core", source, pid, "--output", target)
        assert core[0].read_bytes() == core[1].read_bytes(), name


def test_compressed_read_expanded_restored(program: Program, layers: Layers, tmp_path: Path) -> None:
    stack = three_of(program, layers)
    before = {layer: files_of(layer) for layer in stack}
    wanted = lamina("search", stack[2], "cells", "--json").json["hits"]
    for layer in stack:
        lamina("compress", layer, "--dry-run")
        lamina("compress", layer)
    assert sum(len(it[0]) for layer in stack for it in files_of(layer).values()) < sum(len(it[0]) for it in before[stack[0]].values())
    assert lamina("search", stack[2], "cells", "--json").json["hits"] == wanted
    assert "no difference" in lamina("diff", stack[2], stack[2]).out
    assert all(not it["findings"] for it in lamina("verify", layers.path, "--json", ok=False).json["layers"])
    refused = lamina("restore", "-D", stack[2], ok=False)
    assert refused.status == 1 and "lamina expand" in refused.err
    for layer in stack:
        lamina("expand", layer)
    assert {layer: files_of(layer) for layer in stack} == before
    for layer in (stack[2], stack[0]):
        program.victim.hold()
        restore(program.victim, layer)
        program.same_as(layer, program.victim.ask())
        program.victim.go()
        program.work_for(0)


def test_a_dump_on_a_compressed_parent(program: Program, layers: Layers) -> None:
    base, child = layers.new(), layers.new()
    program.move_on()
    dump(program.victim, base)
    lamina("compress", base)
    program.move_on()
    state = program.victim.ask()
    said = dump(program.victim, child, parent=base, last=True).json
    assert said["stats"]["pages_skipped_parent"] > 1000
    program.states[child] = (state, None)
    lamina("expand", base)
    program.victim.hold()
    restore(program.victim, child)
    program.same_as(child, program.victim.ask())
    program.victim.go()


@pytest.mark.parametrize("name", ["three", "kinds"])
def test_what_criu_wrote(name: str, tmp_path: Path) -> None:
    """Real sets of criu 3.17.1, read in their archive, imported, exported and at rest."""
    archive = Path(__file__).resolve().parents[1] / f"corpus/criu-3.17.1/{name}.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not in the corpus")
    rows = lamina("stack", archive, "--json").json["layers"]
    leaf = rows[-1]["path"]
    stack = tmp_path / "S"
    lamina("import", leaf, stack, "--as", "last")
    lamina("verify", stack / "last")
    pages = sorted((stack / "last").glob("pages-*.img"))
    assert pages and all(os.stat(path).st_mode & 0o777 == 0o600 for path in (stack / "last").iterdir() if not path.is_symlink())
    before = files_of(stack / "last")
    lamina("compress", stack / "last")
    lamina("expand", stack / "last")
    assert files_of(stack / "last") == before
    lamina("export", stack / "last", "--output", tmp_path / "again.tar.zst")
    assert "no difference" in lamina("diff", tmp_path / "again.tar.zst", stack / "last").out
