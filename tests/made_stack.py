"""Big stacks made in a second: real maps, pages files that are all hole.

What a stack costs is its maps. So the maps are real and encoded as a dump encodes them, while a pages file is only as long as its map says:
10 GiB of memory take no disk.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar, new_layer_id
from lamina.core.image.sums import BLOCK, FileSum, sum_bytes
from tests.unit.image.layers import core, inventory, mm, reg

BASE = 0x7F00_0000_0000
PID = 4711


@dataclass(frozen=True)
class Shape:
    """What a made stack is like.

    Attributes:
        layers: how many, the first of which is full.
        logical_bytes: the memory of the task.
        runs: entries of all maps together.
        in_leaf: put them all into the last layer instead of all but the first.
    """

    layers: int = 100
    logical_bytes: int = 10 << 30
    runs: int = 2_000_000
    in_leaf: bool = False


def make_stack(directory: Path, shape: Shape, seed: int = 1, maps: dict[int, PageMap] | None = None) -> Layer:
    """Make the layers 0, 1, … under *directory*, each the parent of the next; returns the last.

    *maps*: maps already made for some of them, by index.
    """
    rng = np.random.default_rng(seed)
    pages = shape.logical_bytes // PAGE
    each = shape.runs if shape.in_leaf else shape.runs // (shape.layers - 1)
    for at in range(shape.layers):
        runs = 1 if at == 0 else each if not shape.in_leaf or at == shape.layers - 1 else 2
        found = maps[at] if maps and at in maps else make_map(rng, pages, runs)
        write_layer(directory / str(at), found, None if at == 0 else str(at - 1))
    return Layer(directory / str(shape.layers - 1))


def make_map(rng: np.random.Generator, pages: int, runs: int) -> PageMap:
    """A map of *pages* pages in about *runs* entries: scattered single pages of its own, and what is inherited between them."""
    if runs == 1:
        return PageMap(1, _addresses(np.zeros(1)), np.array([pages], dtype=np.uint64), np.array([fmt.PageFlag.PRESENT], dtype=np.uint32))
    own = 1 + 2 * np.sort(rng.choice((pages - 1) // 2, runs // 2, replace=False))
    edges = np.stack((own, own + 1), axis=1).ravel()
    edges = np.concatenate(([0], edges, [pages] if edges[-1] < pages else []))
    flags = np.where(np.arange(edges.size - 1) % 2 == 0, fmt.PageFlag.PARENT, fmt.PageFlag.PRESENT).astype(np.uint32)
    return PageMap(1, _addresses(edges[:-1]), np.diff(edges).astype(np.uint64), flags)


def _addresses(pages: NDArray[Any]) -> NDArray[np.uint64]:
    found: NDArray[np.uint64] = np.uint64(BASE) + pages.astype(np.uint64) * np.uint64(PAGE)
    return found


def write_layer(path: Path, pagemap: PageMap, parent: str | None) -> None:
    """A layer of one task in a new directory. Its sidecar says that all pages were written as zeros, so that the holes are not taken for
    pages that somebody punched.
    """
    path.mkdir(parents=True)
    if parent is not None:
        (path / "parent").symlink_to(f"../{parent}")
    memory = mm()
    memory.vmas[0].start, memory.vmas[0].end = BASE, int(pagemap.all.ends[-1])
    ids = schema.task_kobj_ids_entry(vm_id=1, files_id=1, fs_id=1, sighand_id=1)
    files = {
        "inventory.img": fmt.encode_image(fmt.INVENTORY, [inventory()]),
        "pstree.img": fmt.encode_image(fmt.PSTREE, [schema.pstree_entry(pid=PID, ppid=0, pgid=PID, sid=PID, threads=[PID])]),
        "files.img": fmt.encode_image(fmt.FILES, [reg(1, b"/usr/bin/victim"), reg(2, b"/tmp")]),
        "fdinfo-1.img": fmt.encode_image(fmt.FDINFO, [schema.fdinfo_entry(id=2, flags=0, type=schema.fd_types.REG, fd=0)]),
        f"core-{PID}.img": fmt.encode_image(fmt.CORE, [core(PID, True)]),
        f"ids-{PID}.img": fmt.encode_image(fmt.IDS, [ids]),
        f"mm-{PID}.img": fmt.encode_image(fmt.MM, [memory]),
        f"fs-{PID}.img": fmt.encode_image(fmt.FS, [schema.fs_entry(cwd_id=2, root_id=2, umask=0o22)]),
        f"pagemap-{PID}.img": pagemap.encode(),
    }
    sums = {name: sum_bytes(content) for name, content in files.items()} | {"pages-1.img": zero_sum(pagemap.data_bytes)}
    for name, content in files.items():
        (path / name).write_bytes(content)
    with (path / "pages-1.img").open("wb") as file:
        os.truncate(file.fileno(), pagemap.data_bytes)
    Sidecar(new_layer_id(), checksums=sums).store(path)


def zero_sum(size: int) -> FileSum:
    """The checksum of *size* zeros."""
    whole, rest = divmod(size, BLOCK)
    return FileSum(size, sum_bytes(bytes(BLOCK)).blocks * whole + sum_bytes(bytes(rest)).blocks)


def everything(shape: Shape) -> PageRuns:
    """The memory of the task, which every layer knows whole."""
    return PageRuns.of([(BASE, BASE + shape.logical_bytes)])
