"""Shared anonymous memory of a tree: each object made and filled once, here, before any process exists; tasks map it through us."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from lamina.core.ffi import ffi
from lamina.core.kinds.memory.vma_flags import MAP_ANONYMOUS
from lamina.core.kinds.memory.vmas import AreaPlan
from lamina.core.restore import fill
from lamina.core.restore.shared_plan import ObjectPlan, make


class SharedObjects:
    """All objects of a tree that is being rebuilt. A context manager: when it ends, only the tree has them."""

    def __init__(self, objects: Mapping[int, ObjectPlan]) -> None:
        self._plans = objects
        self._paths: dict[int, str] = {}
        self._made = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._made.close()

    def make(self, filled: Callable[[int], None]) -> int:
        """Make and fill them. *filled*(pages) as it goes. Returns pages.

        Raises:
            ImageError: a pages file cannot be read.
        """
        for number, plan in self._plans.items():
            memory = make(plan.size)
            self._made.callback(memory.close)
            with memoryview(memory) as view:
                buffer = ffi.from_buffer(view)
                base = int(ffi.cast("uintptr_t", buffer))
                self._paths[number] = f"/proc/{os.getpid()}/map_files/{base:x}-{base + plan.size:x}"
                try:
                    fill.fill_object(base, plan.owners, filled)
                finally:
                    ffi.release(buffer)
        return sum(plan.owners.runs.pages for plan in self._plans.values())

    def with_paths(self, areas: Iterable[AreaPlan]) -> list[AreaPlan]:
        """*areas*, those of shared memory with the path by which a task can map it."""
        return [
            area if area.shared is None
            else replace(area, path=self._paths[area.shared], open_flags=os.O_RDWR, flags=area.flags & ~MAP_ANONYMOUS)
            for area in areas
        ]  # fmt: skip
