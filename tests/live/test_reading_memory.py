"""mem and search on layers of real programs: the bytes are those that the program held at that dump, from whichever layer they come."""

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.live.harness import Layers, Reaper, dump, lamina, lamina_command, start_c
from tests.live.known_values import PAGE, STEPS, known_stack
from tests.live.test_verbs import lamina_into


def raw(layer: object, pid: int, address: int, size: int) -> bytes:
    return subprocess.run(lamina_command("mem", layer, pid, f"{address:x}:{size}", "--raw"), check=True, capture_output=True).stdout


def test_every_layer_has_the_bytes_of_its_dump(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    for step, layer in known.layers.items():
        for what, (address, content) in known.expected(step).items():
            assert raw(layer, known.victim.pid, address, len(content)) == content, (step, what)
    for what, (address, content) in known.expected(STEPS[-1]).items():
        assert raw("-", known.victim.pid, address, len(content)) == content, ("live", what)


def test_the_whole_memory_of_each_layer(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    """An idle program's cells, all of them: as they were right after each dump."""
    victim = start_c(reaper, tmp_path / "victim", "cells", 16)
    line = next(line for line in Path(f"/proc/{victim.pid}/maps").read_text().splitlines() if _size(line) >= 16 << 20)
    start = int(line.split("-")[0], 16)
    held: dict[Path, bytes] = {}
    parent = None
    for seed in range(3):
        victim.ask(f"write 700 {seed}")
        layer = layers.new()
        dump(victim, layer, parent=parent)
        with open(f"/proc/{victim.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(start)
            held[layer] = memory.read(_size(line))
        parent = layer
    for layer, content in held.items():
        assert raw(layer, victim.pid, start, len(content)) == content
    spans = json.loads(lamina("mem", layer, victim.pid, f"{start:x}:{16 << 20}", "--json").out)["spans"]
    assert {span["owner"]["name"] for span in spans} == {"1", "2", "3"}
    assert [span["start"] for span in spans[1:]] == [span["end"] for span in spans[:-1]]


def _size(line: str) -> int:
    start, end = line.split(maxsplit=1)[0].split("-")
    return int(end, 16) - int(start, 16)


def test_pages_are_shown_with_their_owner(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    pid, at = known.victim.pid, known.at
    heap = lamina("mem", known.layers[3], pid, f"{at['heap'] + 99 * PAGE:x}:{3 * PAGE}").out.splitlines()
    headings = [line for line in heap if line.startswith("#")]
    assert len(headings) == 3 and [word in line for word, line in zip(("zero", "layer 3", "zero"), headings, strict=True)] == [True] * 3
    assert "heap text of ste" in next(line for line in heap if line.startswith(f"{at['heap'] + 100 * PAGE:012x}"))
    text = lamina("mem", known.layers[2], pid, f"{at['mapping'] + 3 * PAGE:x}", "--text").out
    assert "mapped text of step 2" in text and f"{tmp_path}/victim/mapped" in text
    file_page = lamina("mem", known.layers[2], pid, f"0x{at['mapping'] + 5 * PAGE:x}:64").out
    assert f"file {tmp_path}/victim/mapped" in file_page.splitlines()[0] and "page 5 of the fi" in file_page
    head = subprocess.Popen(["head", "-c", "10"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert lamina_into(head, "mem", known.layers[3], pid, f"{at['heap']:x}:{200 * PAGE}", "--raw") == ""


def test_addresses_and_files_that_have_nothing(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim", end=True)
    pid, at = known.victim.pid, known.at
    for args, why in (
        ((pid, "10"), "the nearest area is"),
        ((pid, f"{at['heap'] + 200 * PAGE:x}:999999999999"), "the nearest area is"),
        ((999999, "10"), f"the layer holds {pid}"),
    ):
        ran = lamina("mem", known.layers[3], *args, ok=False)
        assert ran.status == 1 and ran.out == "" and len(ran.err.splitlines()) == 1 and why in ran.err, ran.said
    # Pages that only the file has are not read from another file that took its place.
    (known.victim.dir / "mapped").write_bytes(b"shorter")
    ran = lamina("mem", known.layers[1], pid, f"{at['mapping'] + 5 * PAGE:x}:16", ok=False)
    assert ran.status == 1 and "not in the images" in ran.err and "7 bytes" in ran.err, ran.said
    assert raw(known.layers[1], pid, at["mapping"] + 3 * PAGE, 21) == b"mapped text of step 1"
    ran = lamina("mem", "-", pid, "10", ok=False)
    assert ran.status == 1 and "no such process" in ran.err


def test_punched_pages_name_who_punched_them(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    lamina("dedup", "-D", known.layers[3])
    address = known.at["heap"] + 100 * PAGE
    ran = lamina("mem", known.layers[2], known.victim.pid, f"{address:x}:16", ok=False)
    assert ran.status == 1 and "punched" in ran.err and "dedup of 3" in ran.err, ran.said
    assert raw(known.layers[3], known.victim.pid, address, 9) == b"heap text"


def test_search_finds_each_layer_s_values(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    pid, at = known.victim.pid, known.at
    for step, layer in [*known.layers.items(), (3, Path("-"))]:
        words: tuple[tuple[int, tuple[str, ...]], ...] = (
            (at["text"], (f"global text of step {step}",)),
            (at["text"], (rf"global [xt]+e?xt of step [{step}]", "--regex")),
            (at["text"], (b"global".hex(" ") + " ?? " + f"text of step {step}".encode().hex(), "--hex")),
            (at["number"], (str(step * 1000003), "--int64")),
            (at["ratio"], (str(step + 0.25), "--float64")),
        )
        for address, args in words:
            found = lamina("search", layer, *args, "--area", "file", "--pid", pid, "--json").json
            hit = next(hit for hit in found["hits"] if hit["address"] == address)
            assert found["complete"] and hit["pid"] == pid and "known_values" in hit["area"]["name"]
            assert (hit["owner"]["kind"], hit["owner"]["name"]) == (("live", "") if layer.name == "-" else ("layer", layer.name))
    other = lamina("search", known.layers[2], "global text of step 3", "--area", "known_values", "-c")
    assert other.out == "0\n"


def test_search_filters_and_limits(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    known = known_stack(reaper, layers, tmp_path / "victim")
    layer, pid, start = known.layers[3], known.victim.pid, known.at["mapping"]

    def count(*args: object) -> int:
        return int(lamina("search", layer, *args, "-c").out)

    everywhere = count("of the file")
    here = f"{start:x}-{start + 8 * PAGE:x}"
    # The fourth page was written over.
    assert count("of the file", "--range", here) == 7 <= everywhere
    assert count("of the file", "--range", f"{start + 5:x}-{start + 8 * PAGE:x}", "--area", "file") == 7
    assert count("of the file", "--range", f"{start + 8:x}-{start + 8 * PAGE:x}") == 6
    assert count("of the file", "--range", here, "--prot", "r-x") == count("of the file", "--range", here, "--area", "heap") == 0
    assert count("of the file", "--range", here, "--prot", "rw", "--area", "heap", "--area", "victim/mapped") == 7
    limited = lamina("search", layer, "of the file", "--range", here, "--limit", 3)
    assert len(limited.out.splitlines()) == 5 and "first 3 hits" in limited.out
    assert "[of the file]" in limited.out and str(pid) in limited.out
    assert "no hits" in lamina("search", layer, "of the file", "--range", "1000-2000").out
    for args in (
        ("-", "x"),
        (layer, ""),
        (layer, "xx", "--hex"),
        (layer, "(", "--regex"),
        (layer, "1.5", "--int64"),
        (layer, "x", "--prot", "q"),
    ):
        ran = lamina("search", *args, ok=False)
        assert ran.status == 2 and len(ran.err.splitlines()) == 1, ran.said


def test_reading_a_running_program_changes_nothing_of_it(reaper: Reaper, tmp_path: Path) -> None:
    from tests.live.known_values import start_known

    victim = start_known(reaper, tmp_path / "victim")
    at = victim.ask("set 5")

    def resident() -> list[str]:
        text = Path(f"/proc/{victim.pid}/smaps").read_text()
        return [line for line in text.splitlines() if line.startswith(("Rss", "Anonymous", "Private_Dirty")) or "-" in line.split()[0]]

    # Its file was just written: the kernel may clean its pages at any moment.
    with open(f"/proc/{victim.pid}/exe", "rb") as file:
        os.fsync(file.fileno())
    # Stopped: a thread that only now comes to its wait would touch a page of its stack by itself.
    os.kill(victim.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, victim.pid, os.WSTOPPED)
    before = resident()
    assert raw("-", victim.pid, at["heap"], 256 * PAGE).count(b"heap text of step 5") == 1
    lamina("search", "-", "surely nowhere", "--pid", victim.pid)
    assert resident() == before
    os.kill(victim.pid, signal.SIGCONT)
