"""Debian's crit decodes what we write: the real program on layers made by hand, with every kind of record."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.draft import LayerDraft
from lamina.core.image.sidecar import Sidecar, new_layer_id
from tests.unit.image.layers import Spec, fown, inventory, make, write_memory, write_tasks
from tests.unit.image.test_format import EVENTFD, PIPES

CRIT = shutil.which("crit", path="/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(CRIT is None, reason="crit (Debian package criu) is not installed")


def crit(path: Path) -> list[dict[str, Any]]:
    assert CRIT is not None
    done = subprocess.run([CRIT, "decode", "-i", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{path.name}: {done.stderr}"
    decoded = json.loads(done.stdout)
    assert decoded["magic"]
    entries: list[dict[str, Any]] = decoded["entries"]
    return entries


def descriptions() -> list[schema.file_entry]:
    """One open file description of every kind lamina writes."""
    is_ = schema.fd_types
    options = schema.sk_opts_entry(
        so_sndbuf=1, so_rcvbuf=2, so_snd_tmo_sec=0, so_snd_tmo_usec=0, so_rcv_tmo_sec=0, so_rcv_tmo_usec=0, reuseaddr=True
    )
    listening = schema.inet_sk_entry(
        id=4, ino=99, family=2, type=1, proto=6, state=10, src_port=6379, dst_port=0, flags=2, backlog=511,
        src_addr=[0x0100007F], dst_addr=[0], fown=fown(), opts=options,
    )  # fmt: skip
    epoll = schema.eventpoll_file_entry(
        id=5, flags=2, fown=fown(), tfd=[schema.eventpoll_tfd_entry(id=5, tfd=4, events=0x19, data=2**63, dev=0, inode=1, pos=0)]
    )
    return [
        EVENTFD,
        schema.file_entry(type=is_.INETSK, id=4, isk=listening),
        schema.file_entry(type=is_.EVENTPOLL, id=5, epfd=epoll),
        schema.file_entry(type=is_.PIPE, id=6, pipe=schema.pipe_entry(id=6, pipe_id=7, flags=0, fown=fown())),
        schema.file_entry(type=is_.TTY, id=8, tty=schema.tty_file_entry(id=8, tty_info_id=1, flags=2, fown=fown(), regf_id=1)),
    ]


def terminal() -> schema.tty_info_entry:
    modes = schema.termios_entry(c_iflag=1, c_oflag=2, c_cflag=3, c_lflag=4, c_line=0, c_ispeed=15, c_ospeed=15, c_cc=[0] * 19)
    return schema.tty_info_entry(
        id=1, type=schema.TtyType.PTY, locked=False, exclusive=False, packet_mode=False, sid=7, pgrp=7, rdev=0x8803, termios=modes,
        winsize=schema.winsize_entry(ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0), pty=schema.tty_pty_entry(index=3),
    )  # fmt: skip


def test_crit_decodes_every_file_of_a_layer(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    times = dict.fromkeys(["freezing_time", "frozen_time", "memdump_time", "memwrite_time"], 5)
    counts = dict.fromkeys(["pages_scanned", "pages_skipped_parent", "pages_written", "pages_lazy"], 6)
    with LayerDraft.create(tmp_path / "1") as draft:
        write_memory(draft, 0, Spec({7: {1, 2, 5}, 8: set()}))
        write_tasks(draft, [7, 8])
        draft.put("tty-info", fmt.TTY_INFO, [terminal()])
        draft.put("pipes-data", fmt.PIPES_DATA, PIPES)
        draft.put("fdinfo-9", fmt.FILES, descriptions())
        draft.put("stats-dump", fmt.STATS_DUMP, [schema.stats_entry(dump=schema.dump_stats_entry(**times, **counts))])
        draft.put("inventory", fmt.INVENTORY, [inventory()])
        layer = draft.commit(Sidecar(new_layer_id()))
    images = [path for path in sorted(layer.directory.iterdir()) if fmt.kind_of_file(path.name)]
    assert len(images) > 15
    for path in images:
        kind = fmt.kind_of_file(path.name)
        assert kind is not None
        assert len(crit(path)) == len(fmt.decode_image(path, "files" if path.name == "fdinfo-9.img" else kind.name))
    assert crit(layer.file("stats-dump"))[0]["dump"]["pages_written"] == 6
    assert [bool(it["extra"]) for it in crit(layer.file("pipes-data.img"))] == [True, False, True]


def test_crit_counts_the_pages_of_a_map(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 5}}))
    child = make(tmp_path, "2", Spec({7: {1}}, {7: {2, 5}}), "1")
    head, *entries = crit(child.file("pagemap-7.img"))
    assert head == {"pages_id": 1}
    assert [it["nr_pages"] for it in entries] == [1, 1, 1]
    assert [it.get("in_parent", False) for it in entries] == [False, True, True]
    assert [it["flags"] for it in entries] == [4, 1, 1]
