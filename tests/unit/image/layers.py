"""Layers made by hand: what a dump would write, with contents that say which layer and page they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar, new_layer_id

BASE = 0x7F00_0000_0000
AREA_PAGES = 64


def address(page: int) -> int:
    return BASE + page * PAGE


def runs(pages: set[int]) -> PageRuns:
    return PageRuns.from_pages([address(page) for page in pages])


def content(tag: int, pid: int, page: int) -> bytes:
    """A page that can be told from every other."""
    return f"layer {tag} pid {pid} page {page};".encode().ljust(64, b".") * (PAGE // 64)


@dataclass(frozen=True)
class Spec:
    """A layer to make: pages it holds and pages it inherits, by pid."""

    own: Mapping[int, set[int]]
    inherited: Mapping[int, set[int]] = field(default_factory=dict)


def fown() -> schema.fown_entry:
    return schema.fown_entry(uid=0, euid=0, signum=0, pid_type=0, pid=0)


def creds() -> schema.creds_entry:
    ids = dict.fromkeys(("uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid"), 0)
    return schema.creds_entry(**ids, secbits=0)  # type: ignore[arg-type]  # the stub sees one type for all fields


def core(pid: int, leader: bool) -> schema.core_entry:
    zeros = dict.fromkeys(schema.user_x86_regs_entry.DESCRIPTOR.fields_by_name, 0) | {"mode": 1, "cs": 0x33, "ss": 0x2B}
    fpu = dict.fromkeys(["cwd", "swd", "twd", "fop", "rip", "rdp", "mxcsr", "mxcsr_mask"], 0)
    entry = schema.core_entry(
        mtype=schema.core_entry.X86_64,
        thread_info=schema.thread_info_x86(
            clear_tid_addr=0,
            gpregs=schema.user_x86_regs_entry(**zeros),  # type: ignore[arg-type]  # the stub sees one type for all fields
            fpregs=schema.user_x86_fpregs_entry(**fpu, st_space=[0] * 32, xmm_space=[0] * 64),  # type: ignore[arg-type]  # the stub sees one type for all fields
        ),
        thread_core=schema.thread_core_entry(futex_rla=0, futex_rla_len=0, sched_nice=-5, comm=b"thread \xff", creds=creds()),
    )
    if leader:
        action = schema.sa_entry(sigaction=0, flags=0, restorer=0, mask=0)
        task = schema.task_core_entry(
            task_state=1, exit_code=0, personality=0, flags=0, blk_sigset=0, comm=b"victim", sigactions=[action] * 62
        )
        entry.tc.CopyFrom(task)
    return entry


def mm() -> schema.mm_entry:
    names = [name for name in schema.mm_entry.DESCRIPTOR.fields_by_name if name.startswith("mm_") and name != "mm_saved_auxv"]
    area = schema.vma_entry(
        start=BASE, end=BASE + AREA_PAGES * PAGE, pgoff=0, shmid=0, prot=3, flags=0x22, status=fmt.VmaStatus.ANON_PRIVATE | 1, fd=-1
    )
    places = dict.fromkeys(names, BASE) | {"mm_end_code": BASE + PAGE}
    return schema.mm_entry(**places, exe_file_id=1, vmas=[area], mm_saved_auxv=[6, 4096, 0, 0])  # type: ignore[arg-type]  # the stub sees one type for all fields


def reg(number: int, name: bytes) -> schema.file_entry:
    return schema.file_entry(
        type=schema.fd_types.REG, id=number, reg=schema.reg_file_entry(id=number, flags=0, pos=0, fown=fown(), name=name, size=3)
    )


def write_tasks(draft: LayerDraft, pids: list[int]) -> None:
    tasks = [
        schema.pstree_entry(pid=pid, ppid=pids[0] if at else 0, pgid=pids[0], sid=pids[0], threads=[pid, pid + 500])
        for at, pid in enumerate(pids)
    ]
    draft.put("pstree", fmt.PSTREE, tasks)
    draft.put("files", fmt.FILES, [reg(1, b"usr/bin/victim"), reg(2, b"tmp/\xff\xfe name")])
    for at, pid in enumerate(pids):
        ids = schema.task_kobj_ids_entry(vm_id=at + 1, files_id=at + 1, fs_id=at + 1, sighand_id=at + 1)
        draft.put(f"core-{pid}", fmt.CORE, [core(pid, True)])
        draft.put(f"core-{pid + 500}", fmt.CORE, [core(pid + 500, False)])
        draft.put(f"ids-{pid}", fmt.IDS, [ids])
        draft.put(f"mm-{pid}", fmt.MM, [mm()])
        draft.put(f"fs-{pid}", fmt.FS, [schema.fs_entry(cwd_id=2, root_id=2, umask=0o22)])
        draft.put(f"fdinfo-{at + 1}", fmt.FDINFO, [schema.fdinfo_entry(id=2, flags=0, type=schema.fd_types.REG, fd=0)])


def write_memory(draft: LayerDraft, tag: int, spec: Spec) -> None:
    for at, pid in enumerate(sorted({*spec.own, *spec.inherited})):
        own = spec.own.get(pid, set())
        draft.put_pagemap(pid, PageMap.of(at + 1, runs(own), runs(set(spec.inherited.get(pid, set())))))
        with open(draft.open_pages(at + 1), "wb", closefd=False) as file:
            for page in sorted(own):
                file.write(content(tag, pid, page))


def inventory(pre_dump: bool = False) -> schema.inventory_entry:
    ids = schema.task_kobj_ids_entry(vm_id=1, files_id=1, fs_id=1, sighand_id=1, pid_ns_id=1)
    entry = schema.inventory_entry(img_version=2, fdinfo_per_id=True, root_ids=ids, ns_per_id=True, root_cg_set=1, dump_uptime=1)
    if pre_dump:
        entry.pre_dump_mode = 2
    return entry


def make(stack: Path, name: str, spec: Spec, parent: str | None = None, *, tag: int = 0, pre_dump: bool = False, label: str = "") -> Layer:
    """A committed layer; *parent* is the name of another in the same stack."""
    path = stack / name
    path.mkdir(parents=True, exist_ok=True)
    with LayerDraft.create(path, None if parent is None else f"../{parent}") as draft:
        write_memory(draft, tag, spec)
        if not pre_dump:
            write_tasks(draft, sorted({*spec.own, *spec.inherited}))
        draft.put("inventory", fmt.INVENTORY, [inventory(pre_dump)])
        return draft.commit(Sidecar(new_layer_id(), label=label, time=1_700_000_000.0 + tag, memory_only=pre_dump))


def read_page(layer: Layer, pid: int, page: int) -> bytes | None:
    """What the chain resolves a page to, read from the owner's pages file; None if no layer has it or it was punched."""
    from lamina.core.image.owners import resolve

    owned = resolve(layer.chain(), pid)
    found = owned.of(address(page))
    if found is None or address(page) in owned.punched:
        return None
    owner, offset = found
    with owner.pages_path(pid).open("rb") as file:
        file.seek(offset)
        return file.read(PAGE)
