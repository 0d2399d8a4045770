"""Memory and core files of sets that criu and lamina wrote on other machines, without their programs."""

import re
import subprocess
from pathlib import Path

import pytest

from lamina.core.cli.entry import main
from lamina.core.dirty.runs import PAGE
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.inspect.corefile import write_core
from lamina.core.inspect.layer_memory import open_layer_memory, tasks_with_memory
from lamina.core.inspect.sources import OwnerKind
from tests.corpus import NAMES, unpack
from tests.live.harness import need


def layers_of(directory: Path) -> list[Layer]:
    return [Layer(path) for path in sorted(directory.iterdir()) if (path / "inventory.img").exists()]


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_what_its_owner_has(name: str, tmp_path: Path) -> None:
    for layer in layers_of(unpack(name, tmp_path)):
        for pid in tasks_with_memory(layer):
            owners = resolve(layer.chain(), pid)
            with open_layer_memory(layer, pid) as memory:
                punched = memory.owned_by(OwnerKind.PUNCHED)
                assert bool(punched) == bool(owners.punched)
                for address in (memory.owned_by(OwnerKind.LAYER) & owners.runs).addresses().tolist():
                    found = owners.of(address)
                    assert found is not None
                    with found[0].open_pages(pid) as content:
                        assert memory.read(address, PAGE) == content.pread(PAGE, found[1])
                    assert memory.owner(address).name == found[0].name


def test_shared_memory_of_a_set_of_criu(tmp_path: Path) -> None:
    layers = [layer for layer in layers_of(unpack("criu-3.17.1/kinds", tmp_path)) if not layer.is_pre_dump]
    for layer in layers:
        contents = set()
        for pid in tasks_with_memory(layer):
            with open_layer_memory(layer, pid) as memory:
                areas = [area for area in memory.areas if area.kind == "shared"]
                assert areas
                contents |= {memory.read(area.start, area.size) for area in areas}
        # Both tasks map the same object.
        assert len(contents) == 1 and any(contents.pop())


@pytest.mark.parametrize("name", NAMES)
def test_stack_heap_and_vdso_are_known(name: str, tmp_path: Path) -> None:
    for layer in layers_of(unpack(name, tmp_path)):
        for pid in () if layer.is_pre_dump else tasks_with_memory(layer):
            with open_layer_memory(layer, pid) as memory:
                kinds = [area.kind.value for area in memory.areas]
                assert kinds.count("stack") == kinds.count("vdso") == 1 and "heap" in kinds
                pointer = layer.core(pid).thread_info.gpregs.sp
                assert memory.area_at(pointer) == next(area for area in memory.areas if area.kind == "stack")


def test_archives_and_compressed_layers_read_the_same(tmp_path: Path) -> None:
    stack = unpack("lamina-0.1/three", tmp_path)
    pid = Layer(stack / "3").pids[0]
    with open_layer_memory(Layer(stack / "3"), pid) as memory:
        runs = memory.owned_by(OwnerKind.LAYER)
        expected = [memory.read(start, end - start) for start, end in runs]
    archive = tmp_path / "exported.tar.zst"
    assert main(["export", str(stack / "3"), "--output", str(archive)]) == 0
    for name in ("1", "3"):
        assert main(["compress", str(stack / name)]) == 0
    for place in (archive, stack / "3"):
        with open_layer_memory(Layer(place), pid) as memory:
            assert [memory.read(start, end - start) for start, end in runs] == expected
            # An archive has a name of its own for the layer it is of.
            assert len({span.owner.name for start, end in runs for span in memory.spans(start, end)}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_gdb_opens_their_core_files(name: str, tmp_path: Path) -> None:
    need("gdb")
    for layer in layers_of(unpack(name, tmp_path)):
        if layer.is_pre_dump:
            with pytest.raises(ImageError, match="pre-dump"):
                write_core(layer, layer.pids[0], tmp_path / "core")
            continue
        for pid in tasks_with_memory(layer):
            core = tmp_path / f"core.{layer.name}.{pid}"
            with open_layer_memory(layer, pid) as memory:
                if memory.owned_by(OwnerKind.PUNCHED):
                    with pytest.raises(ImageError, match="its memory is not whole: .*punched"):
                        write_core(layer, pid, core)
                    assert not list(tmp_path.glob("*draft*"))
                    continue
                write_core(layer, pid, core)
                tids = next(list(task.threads) for task in layer.pstree if task.pid == pid)
                start, end = max(memory.owned_by(OwnerKind.LAYER), key=lambda run: run[1] - run[0])
                said = gdb(
                    core, "info threads", "thread apply all info registers rip", f"dump binary memory {tmp_path}/m {start:#x} {end:#x}"
                )
                assert re.findall(r"^[* ] +\d+ +.*LWP (\d+)", said, re.MULTILINE) == [str(tid) for tid in tids], said
                expected = {layer.core(tid).thread_info.gpregs.ip for tid in tids}
                assert {int(value, 16) for value in re.findall(r"^rip +(0x[0-9a-f]+)", said, re.MULTILINE)} == expected, said
                assert (tmp_path / "m").read_bytes() == memory.read(start, end - start)


def gdb(core: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", *words, "-c", core], capture_output=True, text=True, check=True
    )
    return done.stdout
