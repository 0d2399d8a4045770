"""Sets of old releases: what they kept in files of their own is found where later ones have it."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import Message

from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from tests.unit.image.layers import Spec, fown, make, mm, reg


def put(layer: Layer, name: str, kind: str, records: Sequence[Message]) -> None:
    layer.file(name).write_bytes(fmt.encode_image(kind, records))


def test_areas_of_their_own_file(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    record = mm()
    areas = list(record.vmas)
    del record.vmas[:]
    put(layer, "mm-7.img", "mm", [record])
    put(layer, "vmas-7.img", "vmas", areas)
    assert list(layer.mm(7).vmas) == areas
    assert layer.mm(7).exe_file_id == 1


def test_what_stood_beside_core(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    owner = schema.creds_entry(uid=12, gid=12, euid=12, egid=12, suid=12, sgid=12, fsuid=12, fsgid=12, secbits=0)
    action = schema.sa_entry(sigaction=1, flags=0, restorer=0, mask=0)
    timer = schema.itimer_entry(isec=1, iusec=0, vsec=2, vusec=0)
    queued = schema.siginfo_entry(siginfo=b"\x0a" + b"\0" * 127)
    for tid in (7, 507):
        old = layer.core(tid)
        old.thread_core.ClearField("creds")
        old.ClearField("tc")
        if tid == 7:
            old.tc.CopyFrom(schema.task_core_entry(task_state=1, exit_code=0, personality=0, flags=0, blk_sigset=0, comm=b"old"))
        put(layer, f"core-{tid}.img", "core", [old])
    layer = Layer(layer.path)
    put(layer, "creds-7.img", "creds", [owner])
    put(layer, "sigacts-7.img", "sigacts", [action] * 62)
    put(layer, "itimers-7.img", "itimers", [timer, timer, timer])
    put(layer, "rlimit-7.img", "rlimit", [schema.rlimit_entry(cur=1, max=2)])
    put(layer, "signal-s-7.img", "signal-s", [queued])
    put(layer, "signal-p-507.img", "signal-p", [queued, queued])
    core = layer.core(7)
    assert core.thread_core.creds.uid == 12
    assert list(core.tc.sigactions) == [action] * 62
    assert core.tc.timers.prof == timer
    assert core.tc.rlimits.rlimits[0].max == 2
    assert list(core.tc.signals_s.signals) == [queued]
    assert len(layer.core(507).thread_core.signals_p.signals) == 2
    assert layer.core(507).thread_core.creds.uid == 12, "threads had those of the leader"


def test_open_files_by_kind(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1}}))
    layer.file("files.img").unlink()
    put(layer, "reg-files.img", "reg-files", [reg(1, b"bin/x").reg])
    put(layer, "pipes.img", "pipes", [schema.pipe_entry(id=2, pipe_id=9, flags=0, fown=fown())])
    put(layer, "eventpoll.img", "eventpoll", [schema.eventpoll_file_entry(id=3, flags=0, fown=fown())])
    put(layer, "eventpoll-tfd.img", "eventpoll-tfd", [schema.eventpoll_tfd_entry(id=3, tfd=5, events=1, data=0)])
    assert sorted(layer.files) == [1, 2, 3]
    assert layer.files[1].reg.name == b"bin/x"
    assert (layer.files[2].type, layer.files[2].pipe.pipe_id) == (schema.fd_types.PIPE, 9)
    assert layer.files[3].epfd.tfd[0].tfd == 5


def test_version_1_has_no_common_magic(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {1, 2, 9}}))
    before = layer.pagemap(7)
    record = layer.inventory
    record.img_version = 1
    put(layer, "inventory.img", "inventory", [record])
    for name in layer.names():
        kind = fmt.kind_of_file(name)
        if kind and kind.head is fmt.Head.COMMON:
            layer.file(name).write_bytes(layer.read(name)[4:])
    old = Layer(layer.path)
    assert (old.pids, old.core(7).tc.comm, len(old.files)) == ((7,), b"victim", 2)
    assert old.pagemap(7).vaddr.tolist() == before.vaddr.tolist()
