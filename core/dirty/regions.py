"""Regions that C found (`lm_array`), as page runs."""

from typing import Any

import numpy as np

from lamina.core.dirty.runs import PageRuns
from lamina.core.ffi import C, ffi


def new_array() -> Any:
    """An empty `lm_array`, which gives its memory back when nobody has it any more."""
    return ffi.gc(ffi.new("lm_array *"), C.lm_array_free)


def runs_of(array: Any, ascending: bool = False) -> PageRuns:
    """What an `lm_array` holds, copied. *ascending*: its regions are in order, disjoint and joined."""
    if not array.count:
        return PageRuns.empty()
    raw = np.frombuffer(ffi.buffer(array.regions, array.count * 24), dtype=np.uint64).reshape(-1, 3)
    starts, ends = raw[:, 0].copy(), raw[:, 1].copy()
    return PageRuns(starts, ends) if ascending else PageRuns.from_arrays(starts, ends)
