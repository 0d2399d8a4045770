"""Core files of every layer of a stack, opened by gdb: all threads, their stacks, and the memory of that layer."""

import re
import struct
import subprocess
import sys
from pathlib import Path

from tests.live.harness import Layers, Reaper, dump, lamina, need, start_python
from tests.live.known_values import PAGE, PROGRAM, known_stack, mapped_file

QUIET = ("-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load no")


def gdb(program: Path | str, core: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(["gdb", *QUIET, *words, program, core], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_gdb_opens_every_layer_of_a_c_program(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    need("gdb")
    known = known_stack(reaper, layers, tmp_path / "victim", end=True)
    pid, at = known.victim.pid, known.at
    for step, layer in known.layers.items():
        core = tmp_path / f"core.{step}"
        written = lamina("core", layer, pid, "--output", core, "--json").json
        assert written["threads"] == 3 and core.stat().st_mode & 0o777 == 0o600
        # 253 of 256 anonymous pages were never written.
        assert core.stat().st_blocks * 512 < written["size"] - 200 * PAGE
        said = gdb(
            PROGRAM, core, "print *(long*)&known_number", "print *(double*)&known_ratio", "x/s &known_text",
            "x/s *(char**)&known_heap + 409600", "x/s *(char**)&known_mapping + 12288", "x/17c *(char**)&known_mapping + 16384",
            "x/2gx *(char**)&known_heap + 819200", "x/s &known_constant", "info threads", "thread apply all bt",
            "info auxv", "info proc mappings",
        )  # fmt: skip
        for word in (
            f"= {step * 1000003}\n", f"= {step}.25\n", f'"global text of step {step}"', f'"heap text of step {step}"',
            f'"mapped text of step {step}"', '"a constant of the program"', "0x0000000000000000\t0x0000000000000000", "AT_SYSINFO_EHDR",
            str(tmp_path / "victim/mapped"),
        ):  # fmt: skip
            assert word in said, (step, word, said)
        assert "112 'p'" in said and "52 '4'" in said, said  # "page 4 of the file", from the file
        check_threads(said, pid)
        memory = tmp_path / "memory"
        gdb(PROGRAM, core, f"dump binary memory {memory} {at['mapping']:#x} {at['mapping'] + 8 * PAGE:#x}")
        held = memory.read_bytes()
        assert held[4 * PAGE :] == mapped_file()[4 * PAGE :] and held[3 * PAGE :].startswith(f"mapped text of step {step}\0".encode())
        check_registers(layer, core)


def check_threads(said: str, pid: int) -> None:
    assert len(re.findall(r"^[* ] +\d+ +.*LWP (\d+)", said, re.MULTILINE)) == 3, said
    stacks = said.split("\nThread ")[1:]
    assert len(stacks) == 3, said
    found = {next((name for name in ("wait_in_alpha", "sleep_in_beta", "main") if f"in {name} ()" in stack), "none") for stack in stacks}
    assert found == {"wait_in_alpha", "sleep_in_beta", "main"}, said
    assert "corrupt" not in said and "warning: Can't" not in said, said


def check_registers(layer: Path, core: Path) -> None:
    """Every register that gdb shows is that of the image."""
    from lamina.core.image.layer import Layer

    opened = Layer(layer)
    for tid in opened.pstree[0].threads:
        switch = f"python [t for t in gdb.selected_inferior().threads() if t.ptid[1] == {tid}][0].switch()"
        said = gdb(PROGRAM, core, switch, "info registers rip rsp rbx r12 fs_base", "p/x $xmm7.uint128")
        regs = opened.core(tid).thread_info.gpregs
        for name, value in (("rip", regs.ip), ("rsp", regs.sp), ("rbx", regs.bx), ("r12", regs.r12), ("fs_base", regs.fs_base)):
            shown = re.search(rf"^{name}\s+(0x[0-9a-f]+)", said, re.MULTILINE)
            assert shown and int(shown[1], 16) == value, (tid, name, said)
        fpregs = opened.core(tid).thread_info.fpregs
        xmm = struct.unpack("<2Q", struct.pack("<4I", *fpregs.xmm_space[28:32]))
        shown = re.search(r"\$\d+ = (0x[0-9a-f]+)\n", said)
        assert shown and int(shown[1], 16) == xmm[0] | xmm[1] << 64, (tid, said)


def test_gdb_opens_every_layer_of_python(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """CPython: each layer has the digest of its moment and none of a later one; gdb reads it where `search` found it."""
    need("gdb")
    victim = start_python(reaper, tmp_path / "victim", "python_counter")
    stack: list[tuple[Path, str]] = []
    for _ in range(3):
        victim.hold()
        digest = victim.ask()["chains"][0]["digest"][:16]
        layer = layers.new()
        dump(victim, layer, parent=stack[-1][0] if stack else None)
        stack.append((layer, digest))
        victim.go()
        while victim.ask()["chains"][0]["digest"][:16] == digest:
            pass  # on a busy machine it has not come to its next step yet
    for number, (layer, digest) in enumerate(stack):
        found = {other: lamina("search", layer, other, "--prot", "rw", "--json").json["hits"] for _, other in stack}
        assert [bool(found[other]) for _, other in stack] == [True] * (number + 1) + [False] * (2 - number)
        core = tmp_path / f"core.{number}"
        lamina("core", layer, victim.pid, "--output", core)
        address = found[digest][0]["address"]
        said = gdb(sys.executable, core, "info threads", "bt", f"print *(char (*)[{len(digest)}]){address:#x}")
        assert f'"{digest}"' in said and "LWP" in said, said
        assert re.search(r"#\d+ .*(PyEval|_start|main)", said), said


def test_core_refuses_what_it_cannot_write(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    pid = known.victim.pid
    (tmp_path / "there").write_text("mine")
    for args, why, status in (
        ((known.layers[1], pid, "--output", tmp_path / "there"), "it exists", 1),
        ((known.layers[1], pid, "--output", tmp_path / "no/where"), "No such file", 1),
        ((known.layers[1], 999999), f"the layer holds {pid}", 1),
        (("-", pid), "gcore", 2),
    ):
        ran = lamina("core", *args, ok=False, cwd=tmp_path)
        assert ran.status == status and why in ran.err and len(ran.err.splitlines()) == 1, ran.said
    assert (tmp_path / "there").read_text() == "mine"
    assert not list(tmp_path.glob("*draft*"))
    lamina("core", known.layers[2], pid, cwd=tmp_path)
    assert (tmp_path / f"core.{pid}").stat().st_size
