"""What `show` says: a line for each file, fields by name, contents as dumps; large maps stay quick and small."""

import json
import resource
import struct
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.pagemap import PAGE, PageMap
from lamina.core.image.show import as_overview, as_text, as_tree
from lamina.core.image.show.forms import COMMON, FORMS
from lamina.core.image.show.signals import decode_siginfo
from lamina.core.image.show.tree import to_tree
from tests.corpus import NAMES, unpack
from tests.unit.image.layers import Spec, fown, make
from tests.unit.image.test_catalogue import DESC, FOLLOWED, filled

OPTIONS = ("so_sndbuf", "so_rcvbuf", "so_snd_tmo_sec", "so_snd_tmo_usec", "so_rcv_tmo_sec", "so_rcv_tmo_usec")


def text_of(message: Message) -> str:
    return as_text({"kind": "made", "records": [to_tree(message)]})


def test_forms_are_of_fields_that_there_are() -> None:
    messages = [made.DESCRIPTOR for name in schema.__all__ if hasattr(made := getattr(schema, name), "DESCRIPTOR")]
    fields = {made.name: set(made.fields_by_name) for made in messages if hasattr(made, "fields_by_name")}
    for message, forms in FORMS.items():
        assert set(forms) <= fields[message], message
    assert set(COMMON) <= set().union(*fields.values())


@pytest.mark.parametrize("name", sorted(fmt.IMAGES))
def test_every_kind_has_a_summary_and_a_text(name: str, tmp_path: Path) -> None:
    kind = fmt.IMAGES[name]
    path = tmp_path / (name if kind.head is fmt.Head.SERVICE else f"{name}.img")
    records = ([filled(kind.first)] if kind.first else []) + [filled(kind.message)]
    if name == "pagemap":
        records = [schema.pagemap_head(pages_id=1), schema.pagemap_entry(vaddr=PAGE, compat_nr_pages=1)]
    path.write_bytes(fmt.encode_image(kind, records))
    shown = as_tree(path)
    assert "error" not in shown
    assert shown["summary"]
    assert shown["kind"] == name or (name, shown["kind"]) == ("signal-p", "signal-s")
    json.dumps(shown)
    assert shown["summary"] in as_text(shown)
    path.write_bytes(kind.head_bytes)
    assert as_tree(path).get("summary") == "nothing" or name == "pagemap"


def test_numbers_stay_numbers_in_json_and_have_names_in_text() -> None:
    area = schema.vma_entry(start=0x1000, end=0x3000, pgoff=0, shmid=0, prot=5, flags=0x22, status=0x209, fd=-1, madv=1 << 16)
    assert json.loads(json.dumps(to_tree(area)))["prot"] == 5
    assert "prot 0x5 (read exec), flags 0x22 (private anonymous), status 0x209 (regular vdso anon-private), fd -1" in text_of(area)
    assert "madv 0x10000 (dontdump)" in text_of(area)
    creds = schema.creds_entry(uid=0, gid=0, euid=0, egid=0, suid=0, sgid=0, fsuid=0, fsgid=0, secbits=0, cap_eff=[1 << 21 | 1, 1 << 8])
    assert "cap_eff: 0x10000200001 (chown sys_admin checkpoint_restore)" in text_of(creds)
    tcp = schema.inet_sk_entry(
        id=1, ino=2, family=2, type=1, proto=6, state=10, src_port=80, dst_port=0, flags=2, backlog=5, src_addr=[0x0100007F], dst_addr=[0],
        fown=fown(), opts=schema.sk_opts_entry(**dict.fromkeys(OPTIONS, 1)),  # type: ignore[arg-type]  # the stub sees one type for all fields
    )  # fmt: skip
    for line in ("family: 2 (inet)", "proto: 6 (tcp)", "state: 10 (listen)", "src_addr: 127.0.0.1", "flags: 0o2 (rdwr)"):
        assert line in text_of(tcp)
    tcp.family = 10
    tcp.src_addr[:] = [0, 0, 0, 1 << 24]
    assert "src_addr: ::1" in text_of(tcp)
    act = schema.task_core_entry(task_state=2, exit_code=9, personality=0, flags=0, blk_sigset=1 << 9 | 1 << 36, comm=b"x")
    act.sigactions.extend(schema.sa_entry(sigaction=at, flags=4, restorer=0, mask=0) for at in range(62))
    for line in ("(SIGUSR1 SIGRTMIN+3)", "0x9 (killed by SIGKILL)", "sigactions[0]: signal SIGHUP, sigaction default, flags 0x4 (siginfo)"):
        assert line in text_of(act)
    assert "sigactions[8]: signal SIGUSR1" in text_of(act)
    assert "sigactions[61]: signal SIGRTMIN+30" in text_of(act)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (struct.pack("<iiiiiIQ", 10, 0, -1, 0, 42, 1000, 77), {"signal": "SIGUSR1", "code": "queue", "pid": 42, "uid": 1000, "value": 77}),
        (struct.pack("<iiiiiIQ", 17, 0, 2, 0, 42, 0, 9), {"signal": "SIGCHLD", "code": "killed", "pid": 42, "status": 9}),
        (struct.pack("<iiiiQQ", 11, 0, 1, 0, 0xDEAD, 0), {"signal": "SIGSEGV", "code": 1, "address": 0xDEAD}),
        (struct.pack("<iiiiiIQ", 37, 0, -2, 0, 3, 1, 5), {"signal": "SIGRTMIN+3", "code": "timer", "timer": 3, "overrun": 1, "value": 5}),
    ],
)
def test_queued_signals_are_decoded(raw: bytes, said: dict[str, object]) -> None:
    decoded = decode_siginfo(raw)
    assert said.items() <= decoded.items()
    assert decode_siginfo(raw[:20]) == {}


@pytest.mark.parametrize("name", FOLLOWED)
def test_contents_are_shown_in_their_parts(name: str, tmp_path: Path) -> None:
    record, blob = FOLLOWED[name]
    path = tmp_path / f"{name}-1.img"
    path.write_bytes(fmt.encode_image(name, [(record, blob)]))
    (shown,) = as_tree(path)["records"]
    parts: dict[str, dict[str, object]] = {
        "ipcns-sem": {"values": [1, 2, 3]},
        "ipcns-shm": {"content": b"hello".hex(), "content_bytes": 5},
        "tcp-stream": {"inq": b"in!".hex(), "outq": b"out!".hex()},
        "bpfmap-data": {"keys": b"kk".hex(), "values": b"vvv".hex()},
        "ipcns-msg": {
            "messages": [{"mtype": 3, "msize": 3, "content": b"abc".hex()}, {"mtype": 5, "msize": 5, "content": b"abc\0\0".hex()}]
        },
    }
    assert parts.get(name, {"content": b"hi".hex(), "content_bytes": 2}).items() <= shown.items()


def test_a_limit_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ipcns-shm-9.img"
    path.write_bytes(fmt.encode_image("ipcns-shm", [(schema.ipc_shm_entry(desc=DESC, size=1 << 16), b"x" * (1 << 16))] * 5))
    shown = as_tree(path, 2)
    assert (len(shown["records"]), shown["left_out"]) == (2, 3)
    assert shown["records"][0]["content"] == b"x".hex() * 32
    text = as_text(shown)
    assert "000000  78 78" in text
    assert text.endswith("… 3 more (--all shows them)")
    assert "  *\n" in as_text(as_tree(path))


def test_a_file_is_known_by_its_head(tmp_path: Path) -> None:
    (tmp_path / "renamed").write_bytes(fmt.encode_image("fs", [schema.fs_entry(cwd_id=1, root_id=2)]))
    assert as_tree(tmp_path / "renamed")["kind"] == "fs"
    (tmp_path / "notes.txt").write_bytes(b"hello")
    assert as_tree(tmp_path / "notes.txt")["kind"] == "raw"


def test_unknown_fields_have_number_and_value() -> None:
    payload = schema.pipe_data_entry(pipe_id=1, bytes=0).SerializeToString() + b"\x78\x07\x82\x01\x02hi"
    tree = to_tree(schema.pipe_data_entry.FromString(payload))
    assert tree["unknown_fields"] == [{"field": 15, "value": 7}, {"field": 16, "value": b"hi".hex()}]
    assert "unknown_fields[1]:" in text_of(schema.pipe_data_entry.FromString(payload))


def test_a_map_of_two_million_runs_is_shown_in_seconds(tmp_path: Path) -> None:
    count = 2_000_000
    vaddr = (np.arange(count, dtype=np.uint64) * 3 + 0x7F0000000) * PAGE
    pages = PageMap(1, vaddr, np.ones(count, dtype=np.uint64), np.full(count, 4, dtype=np.uint32))
    (tmp_path / "pagemap-1.img").write_bytes(pages.encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    shown = as_tree(tmp_path / "pagemap-1.img", 100)
    text = as_text(shown)
    assert time.perf_counter() - begin < 6, "0.3 s on a quiet machine"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10
    assert len(text.splitlines()) == 103
    assert (shown["runs"]["total"], shown["left_out"]) == (count, count - 100)
    assert "2,000,000 runs, 2,000,000 pages (7.6 GiB) in pages-1.img" in text


@pytest.mark.parametrize("name", NAMES)
def test_real_sets_are_shown_without_an_error(name: str, tmp_path: Path) -> None:
    for layer in unpack(name, tmp_path).iterdir():
        tree = as_tree(layer)
        json.dumps(tree)
        assert [name for name, shown in tree.items() if "error" in shown] == []
        assert all("unknown_fields" not in json.dumps(shown) for shown in tree.values())
        assert len(as_overview(tree).splitlines()) == len(tree)
        assert as_text(tree).isprintable() or "\x1b" not in as_text(tree)


def test_an_overview_of_a_made_layer(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2}}))
    lines = dict(line.split(maxsplit=1) for line in as_overview(as_tree(layer.path, 0)).splitlines())
    assert lines["pstree.img"].endswith("1 task, 2 threads, the root is 7")
    assert lines["files.img"].endswith("2 open files: 2 reg")
    assert lines["pagemap-7.img"].endswith("1 run, 2 pages (8.0 KiB) in pages-1.img")
    assert lines["pages-1.img"].endswith("2 pages")


def test_archives_are_shown_like_directories(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2}}))
    with tarfile.open(tmp_path / "one.tar.gz", "w:gz") as archive:
        archive.add(layer.path, "checkpoint")
    whole = as_tree(tmp_path / "one.tar.gz")
    assert {name: shown["summary"] for name, shown in whole.items()} == {
        name: shown["summary"] for name, shown in as_tree(layer.path).items()
    }
    assert as_tree(tmp_path / "one.tar.gz/checkpoint") == whole
    assert as_tree(tmp_path / "one.tar.gz/checkpoint/core-7.img") == whole["core-7.img"]
    assert as_tree(tmp_path / "one.tar.gz/core-7.img") == whole["core-7.img"]
    (tmp_path / "none.tar").write_bytes(b"hello")
    for path in ("none.tar", "one.tar.gz/core-8.img", "one.tar.gz/other"):
        with pytest.raises(ImageError):
            as_tree(tmp_path / path)
