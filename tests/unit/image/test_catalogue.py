"""Every type of image of CRIU 4.2: its magic is known, a made file of it decodes, and what follows its records is found."""

import contextlib
import struct
from pathlib import Path
from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema

# From criu/include/magic.h and the file names of criu/image-desc.c, written here a second time.
MAGICS = {
    "inventory": 0x58313116, "core-1": 0x55053847, "pstree": 0x50273030, "ids-1": 0x54432030, "mm-1": 0x57492820, "fs-1": 0x51403912,
    "pagemap-1": 0x56084025, "pagemap-shmem-1": 0x56084025, "fdinfo-2": 0x56213732, "files": 0x56303138, "reg-files": 0x50363636,
    "creds-1": 0x54023547, "vmas-1": 0x54123737, "sigacts-1": 0x55344201, "itimers-1": 0x57464056, "posix-timers-1": 0x52603957,
    "rlimit-1": 0x57113925, "signal-s-1": 0x59255647, "signal-p-1": 0x59255647, "pipes": 0x56513555, "pipes-data": 0x56453709,
    "fifo": 0x58364939, "fifo-data": 0x59333054, "tty": 0x59433025, "tty-info": 0x59453036, "tty-data": 0x59413026,
    "remap-fpath": 0x59133954, "ghost-file-1a": 0x52583605, "filelocks": 0x54323616, "unixsk": 0x54373943, "inetsk": 0x56443851,
    "packetsk": 0x60454618, "netlinksk": 0x58005614, "sk-queues": 0x56264026, "tcp-stream-fa0": 0x51465506, "eventfd": 0x44523722,
    "eventpoll": 0x45023858, "eventpoll-tfd": 0x44433746, "signalfd": 0x57323820, "timerfd": 0x50493712, "inotify": 0x48424431,
    "inotify-wd": 0x54562009, "fanotify": 0x55096122, "fanotify-mark": 0x56506035, "mountpoints-12": 0x55563928, "ns-files": 0x61394011,
    "utsns-10": 0x54473203, "userns-10": 0x55474906, "timens-0": 0x43114433, "pidns-10": 0x61157326, "netns-9": 0x55933752,
    "netdev-9": 0x57373951, "ipcns-var-10": 0x53115007, "ipcns-shm-10": 0x46283044, "ipcns-msg-10": 0x55453737,
    "ipcns-sem-10": 0x59573019, "cgroup": 0x59383330, "seccomp": 0x64413049, "cpuinfo": 0x61404013, "apparmor": 0x59423047,
    "memfd": 0x48453499, "ext-files": 0x59255641, "tunfile": 0x57143751, "pidfd": 0x54435556, "autofs-5": 0x49353943,
    "binfmt-misc": 0x67343323, "binfmt-misc-5": 0x67343323, "bpfmap-file": 0x57506142, "bpfmap-data": 0x64324033,
}  # fmt: skip
SERVICE = {"stats-dump": 0x57093306, "stats-restore": 0x57093306, "irmap-cache": 0x57004059}
RAW = [
    "pages-1.img", "pages-shmem-1.img", "tmpfs-5.tar.gz.img", "tmpfs-dev-38.tar.gz.img", "ifaddr-9.img", "route-9.img", "route6-9.img",
    "rule-9.img", "iptables-9.img", "ip6tables-9.img", "nftables-9.img", "netns-ct-9.img", "netns-exp-9.img", "dump.log", "config.dump",
    "amdgpu-kfd-1.img", "core-1.img.tmp", "core-.img", "core-x.img", "core-1 .img",
]  # fmt: skip


def filled(message: type[Message], depth: int = 0) -> Message:
    """A record with every field set; nothing follows it."""
    made = message()
    for field in made.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth < 4:
                child = filled(GetMessageClass(cast(Descriptor, field.message_type)), depth + 1)
                getattr(made, field.name).append(child) if field.is_repeated else getattr(made, field.name).CopyFrom(child)
            continue
        value: object = 0
        if field.enum_type is not None:
            value = field.enum_type.values[-1].number
        elif field.type == FieldDescriptor.TYPE_STRING:
            value = "x"
        elif field.type == FieldDescriptor.TYPE_BYTES:
            value = b"\xff"
        elif field.type == FieldDescriptor.TYPE_BOOL:
            value = True
        getattr(made, field.name).append(value) if field.is_repeated else setattr(made, field.name, value)
    return made


@pytest.mark.parametrize("name", [*MAGICS, *SERVICE])
def test_every_kind_is_known_and_decodes(name: str, tmp_path: Path) -> None:
    service = name in SERVICE
    path = tmp_path / (name if service else f"{name}.img")
    kind = fmt.kind_of_file(path.name)
    assert kind is not None
    magic = (SERVICE | MAGICS)[name]
    assert kind.magic == magic
    head = struct.pack("<I", magic) if name == "inventory" else struct.pack("<II", 0x55105940 if service else 0x54564319, magic)
    assert kind.head_bytes == head
    found = fmt.kind_of_head(head)
    assert found is not None
    assert found.message is kind.message

    records = [filled(kind.first)] if kind.first else []
    if name.startswith("ghost"):
        assert isinstance(records[0], schema.ghost_file_entry)  # `chunks` is set: then records follow
    records += [filled(kind.message), filled(kind.message)]
    path.write_bytes(fmt.encode_image(kind, records))
    back = fmt.decode_image(path, kind.name)
    assert back == records
    path.write_bytes(path.read_bytes().replace(head, struct.pack("<I", magic), 1))  # version 1 has no common magic
    assert fmt.decode_image(path, kind.name) == records


def test_no_kind_is_left_out_of_the_table() -> None:
    named = {fmt.kind_of_file(name if name in SERVICE else f"{name}.img") for name in (*MAGICS, *SERVICE)}
    assert named == set(fmt.IMAGES.values())


@pytest.mark.parametrize("name", RAW)
def test_raw_files_are_no_images(name: str) -> None:
    assert fmt.kind_of_file(name) is None


DESC = schema.ipc_desc_entry(key=1, uid=0, gid=0, cuid=0, cgid=0, mode=0o600, id=3)
FOLLOWED = {
    "ipcns-sem": (schema.ipc_sem_entry(desc=DESC, nsems=3), b"\1\0\2\0\3\0\0\0"),
    "ipcns-shm": (schema.ipc_shm_entry(desc=DESC, size=5), b"hello\0\0\0"),
    "ipcns-msg": (
        schema.ipc_msg_entry(desc=DESC, qbytes=100, qnum=2),
        b"".join(
            len(payload := schema.ipc_msg(mtype=n, msize=n).SerializeToString()).to_bytes(4, "little") + payload + b"abc".ljust(8, b"\0")
            for n in (3, 5)
        ),
    ),
    "tcp-stream": (
        schema.tcp_stream_entry(inq_len=3, inq_seq=1, outq_len=4, outq_seq=2, opt_mask=0, snd_wscale=7, mss_clamp=1460),
        b"in!out!",
    ),
    "bpfmap-data": (schema.bpfmap_data_entry(map_id=1, keys_bytes=2, values_bytes=3, count=1), b"kkvvv"),
    "sk-queues": (schema.sk_packet_entry(id_for=1, length=2), b"hi"),
    "fifo-data": (schema.pipe_data_entry(pipe_id=1, bytes=2), b"hi"),
    "pipes-data": (schema.pipe_data_entry(pipe_id=1, bytes=2), b"hi"),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_follows_a_record_is_found_with_its_padding(name: str) -> None:
    record, blob = FOLLOWED[name]
    data = fmt.encode_image(name, [(record, blob)] * 3)
    assert [(message, blob) for message, blob, _ in fmt.records_of(data, fmt.IMAGES[name], name)] == [(record, blob)] * 3
    for end in range(len(data) - len(blob), len(data)):
        with pytest.raises(ImageError, match="truncated image"):
            list(fmt.records_of(data[:end], fmt.IMAGES[name], name))
    with pytest.raises(ImageError, match="cannot encode"):
        fmt.encode_image(name, [(record, blob + b"\0" * 8)])


def test_a_segment_whose_content_is_in_a_pagemap_has_none_here() -> None:
    record = schema.ipc_shm_entry(desc=DESC, size=1 << 40, in_pagemaps=True)
    assert fmt.decode_image(fmt.encode_image("ipcns-shm", [record, record]), "ipcns-shm") == [record, record]


def test_a_ghost_file_is_its_record_and_the_rest() -> None:
    whole = schema.ghost_file_entry(uid=0, gid=0, mode=0o100600)
    data = fmt.encode_image("ghost-file", [(whole, b"content\n")])
    assert [(m, b) for m, b, _ in fmt.records_of(data, fmt.IMAGES["ghost-file"], "ghost-file-1.img")] == [(whole, b"content\n")]
    assert fmt.decode_image(fmt.encode_image("ghost-file", [whole]), "ghost-file") == [whole]
    sparse = schema.ghost_file_entry(uid=0, gid=0, mode=0o100600, chunks=True, size=1 << 30)
    chunk = schema.ghost_chunk_entry(len=3, off=4096)
    data = fmt.encode_image("ghost-file", [sparse, (chunk, b"abc"), (chunk, b"def")])
    assert [b for _, b in fmt.decode_blobs(data, fmt.IMAGES["ghost-file"])] == [b"abc", b"def"]


@given(st.sampled_from(sorted(fmt.IMAGES)), st.binary(max_size=80))
def test_anything_behind_any_head_is_records_or_one_line(name: str, raw: bytes) -> None:
    kind = fmt.IMAGES[name]
    with contextlib.suppress(ImageError):
        list(fmt.records_of(kind.head_bytes + raw, kind, name))


def test_unknown_fields_are_kept() -> None:
    known = schema.vma_entry(start=1, end=2, pgoff=0, shmid=0, prot=0, flags=0, status=0, fd=-1)
    payload = known.SerializeToString() + b"\xf8\x07\x96\x01" + b"\xfa\x07\x02hi"  # field 127: 150, then "hi"
    data = fmt.VMAS.head_bytes + len(payload).to_bytes(4, "little") + payload
    (record,) = fmt.decode(data, fmt.VMAS)
    unknown = UnknownFieldSet(record)
    assert [(unknown[at].field_number, unknown[at].data) for at in range(len(unknown))] == [(127, 150), (127, b"hi")]
    assert fmt.encode_image(fmt.VMAS, [record]) == data
