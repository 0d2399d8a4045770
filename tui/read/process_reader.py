"""The table of processes, read in worker threads."""

import os
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from lamina.core.attach.processes import ProcessInfo, ProcessTable
from lamina.core.errors import in_one_line
from lamina.tui.model.process_filter import searchable
from lamina.tui.model.processes import Processes
from lamina.tui.model.target import known_states

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessReader:
    """The process table, read again and again. Readings may overlap; the table may not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: ProcessTable | None = None
        self._texts: dict[int, tuple[tuple[str, ...], str, tuple[int, str]]] = {}
        self._ticks: dict[int, tuple[int, int]] = {}
        self._cpu: dict[int, float] = {}
        self._moment = 0.0

    def read(self) -> Processes:
        """The processes now. The user and command line of new ones are left to `read_on`."""
        began = time.monotonic()
        with self._lock:
            if self._table is None:
                self._table = ProcessTable(known_states)
            self._table.refresh(ask=False)
            rows = self._table.rows()
            self._measure(rows, began)
            return self._processes(rows, began)

    def read_on(self, first: Collection[int], seconds: float) -> Processes:
        """The same processes with more known about them, about *first* before the others, after about *seconds*."""
        began = time.monotonic()
        with self._lock:
            if self._table is None:
                return Processes()
            self._table.ask_on(first, seconds)
            return self._processes(self._table.rows(), began)

    def _measure(self, rows: Sequence[ProcessInfo], now: float) -> None:
        span, before = (now - self._moment) * _TICKS_A_SECOND / 100, self._ticks
        self._ticks = {row.pid: (row.start_time, row.cpu_ticks) for row in rows}
        self._moment, self._cpu = now, {}
        for pid, (start, ticks) in self._ticks.items():
            then = before.get(pid)
            if then is not None and then[1] != ticks and then[0] == start:
                self._cpu[pid] = (ticks - then[1]) / span

    def _processes(self, rows: tuple[ProcessInfo, ...], began: float) -> Processes:
        texts, known, shown = {}, self._texts, list(rows)
        for at, row in enumerate(rows):
            kept = known.get(row.pid)
            if kept is None or kept[0] is not row.cmdline or kept[1] != row.name:
                kept = (row.cmdline, row.name, (row.pid, searchable(row.pid, row.name, row.cmdline)))
            texts[row.pid] = kept
            if not row.name.isprintable() or not all(map(str.isprintable, row.cmdline)):
                # A process may put anything into them, also what moves a cursor.
                shown[at] = replace(row, name=in_one_line(row.name), cmdline=tuple(map(in_one_line, row.cmdline)))
        self._texts = texts
        unasked = self._table.unasked if self._table else 0
        return Processes(
            tuple(shown), os.getloadavg()[0], {row.pid: row for row in shown}, [text for _, _, text in texts.values()], self._cpu, unasked,
            self._moment, time.monotonic() - began,
        )  # fmt: skip
