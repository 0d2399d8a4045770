"""Big stacks made in a second: real maps, pages files that are all hole, no tasks.

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
    """A memory-only layer of one task in a new directory."""
    path.mkdir(parents=True)
    if parent is not None:
        (path / "parent").symlink_to(f"../{parent}")
    ids = schema.task_kobj_ids_entry(vm_id=1, files_id=1, fs_id=1, sighand_id=1, pid_ns_id=1)
    head = schema.inventory_entry(img_version=2, fdinfo_per_id=True, root_ids=ids, ns_per_id=True, root_cg_set=1)
    (path / f"pagemap-{PID}.img").write_bytes(pagemap.encode())
    with (path / "pages-1.img").open("wb") as file:
        os.truncate(file.fileno(), pagemap.data_bytes)
    (path / "inventory.img").write_bytes(fmt.encode_image(fmt.INVENTORY, [head]))


def everything(shape: Shape) -> PageRuns:
    """The memory of the task, which every layer knows whole."""
    return PageRuns.of([(BASE, BASE + shape.logical_bytes)])
