"""Reads a stack for the screen, called in worker threads: its layers as rows, newest first, with their lanes, and the trash."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ImageError
from lamina.tui import paths
from lamina.tui.model.layers import Check, LayerRow, StackView, arrange, by_drop
from lamina.tui.read.layer_row import name_in, read_row, shortened, stamp_of, time_of, unreadable_row

if TYPE_CHECKING:
    from lamina.core.events import CancelToken, Listener
    from lamina.core.image.layer import Layer
    from lamina.core.image.stack import Key, Stack
    from lamina.core.verify.reports import Report, Verified


class StackReader:
    """Reads stacks. Keeps what it has read of layers that do not change, and the last stack with all decoded maps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack: Stack | None = None
        self._stamps: dict[Key, int] = {}
        self._rows: dict[Path, LayerRow] = {}
        self._reports: dict[Path, tuple[int, Report]] = {}
        self._checks: dict[Path, tuple[int, Check]] = {}
        self._judged: object = None

    def read(self, path: Path) -> StackView:
        """The stack in the directory or archive *path*; no layers if there is no such directory yet, or it cannot be read."""
        if not os.path.lexists(path):
            return StackView(path, free=paths.free_bytes(path))
        try:
            return self._view(path)
        except (ImageError, OSError) as error:
            return StackView(path, free=paths.free_bytes(path), archive=paths.is_file(path), why=str(error))

    def _view(self, path: Path) -> StackView:
        stack, stamps = self._open(path)
        live = [self._row(stack, layer, stamps[layer.key]) for layer in stack.layers]
        dropped = [self._row(stack, layer, stamps[layer.key]) for layer in stack.trashed]
        for bad in stack.unreadable:
            row = self._with_checks(unreadable_row(bad.path, bad.why), bad.path.resolve())
            (dropped if row.trashed else live).append(row)
        rows = tuple(arrange(live))
        trash = tuple(by_drop(dropped, len(rows[0].lane) if rows else 2))
        disk, in_trash = (sum(row.disk_bytes for row in some) for some in (rows, trash))
        return StackView(path, rows, trash, disk, in_trash, paths.free_bytes(path), paths.is_file(path))

    def judge(self, path: Path) -> StackView:
        """Read the stack in *path*, and check each layer quickly, as every restore does first."""
        with suppress(ImageError, OSError):  # which `read` reports
            self._check(path)
        return self.read(path)

    def _check(self, path: Path) -> None:
        from lamina.core.verify import verify_stack

        stack, stamps = self._open(path)
        key = (path, tuple(stamps.items()), stack.unreadable)
        if key != self._judged:
            found = verify_stack(stack, contents=False).reports
            at = {layer.directory: stamps[layer.key] for layer in (*stack.layers, *stack.trashed)}
            with self._lock:
                self._reports = {report.layer: (at.get(report.layer, 0), report) for report in found}
            self._judged = key

    def verify(self, path: Path, listen: "Listener", cancel: "CancelToken") -> "Verified":
        """Check all bytes of the layer at *path*, and remember the result.

        Raises:
            ImageError: there is no such layer.
            Cancelled: as asked.
        """
        from lamina.core.image.layer import Layer
        from lamina.core.verify import verify_layer

        layer = Layer(path)
        stamp = stamp_of(layer)
        found = verify_layer(layer, True, listen, cancel)
        self._remember(layer, stamp, found.reports[0])
        return found

    def verify_all(self, path: Path, listen: "Listener", cancel: "CancelToken") -> "Verified":
        """Check all bytes of every layer of the stack in *path*, and remember the results."""
        from lamina.core.verify import verify_stack

        stack, stamps = self._open(path)
        found = verify_stack(stack, True, listen, cancel)
        reports = {report.layer: report for report in found.reports}
        for layer in (*stack.layers, *stack.trashed):
            self._remember(layer, stamps[layer.key], reports[layer.directory])
        return found

    def layer(self, path: Path) -> "Layer":
        """The layer at *path*, if possible from the stack that was read last, so that its maps and those of its ancestors are decoded once.

        Raises:
            ImageError: there is none.
        """
        from lamina.core.image.layer import Layer

        with self._lock:
            stack = self._stack
        known = (*stack.layers, *stack.trashed) if stack is not None else ()
        return next((layer for layer in known if layer.path == path), None) or Layer(path)

    def _open(self, path: Path) -> "tuple[Stack, dict[Key, int]]":
        """The stack in *path*, and the stamps of its layers; the same object as last time, unless a layer has changed."""
        from lamina.core.image.stack import Stack

        stack = Stack.open(path)
        layers = (*stack.layers, *stack.trashed)
        stamps: dict[Key, int] = {}
        for layer in layers:
            stamp_of(layer, stamps)
        with self._lock:
            kept = self._stack
            if kept is not None and kept.path == path and stamps == self._stamps and kept.unreadable == stack.unreadable:
                return kept, stamps
            self._stack, self._stamps = stack, stamps
        return stack, stamps

    def _row(self, stack: "Stack", layer: "Layer", stamp: int) -> LayerRow:
        with self._lock:
            row = self._rows.get(layer.path)
        if row is None or row.stamp != stamp:
            above = stack.parent_of(layer)
            row = replace(
                _read(layer),
                name=name_in(stack.path, layer),
                parent=above.path if above else None,
                parent_time=time_of(above) if above else 0.0,
                stamp=stamp,
            )
            with self._lock:
                self._rows[layer.path] = row
        return self._with_checks(row, layer.directory)

    def _remember(self, layer: "Layer", stamp: int, report: "Report") -> None:
        sums = layer.sidecar is not None and bool(layer.sidecar.checksums)
        with self._lock:
            self._checks[layer.path] = (stamp, Check(time.time(), report.whole, report.why, sums))

    def _with_checks(self, row: LayerRow, directory: Path) -> LayerRow:
        """*row* with the result of its last check, if that still holds."""
        with self._lock:
            stamp, report = self._reports.get(directory, (None, None))
            checked_at, check = self._checks.get(row.path, (None, None))
        if report is not None and stamp == row.stamp:
            found = report.why.replace(f"{directory.parent}/", "")
            restorable = report.state.value == "restorable"
            why = "" if restorable else row.why if report.whole and row.why else shortened(found)
            row = replace(row, restorable=restorable, whole=report.whole, why=why, finding=found)
        if check is not None and checked_at == row.stamp:
            row = replace(row, checked=check)
            if not check.good:
                found = check.why.replace(f"{directory.parent}/", "")
                row = replace(row, restorable=False, whole=False, why=shortened(found), finding=found)
        return row


def _read(layer: "Layer") -> LayerRow:
    """Its row; a damaged layer must not hide the others."""
    try:
        return read_row(layer)
    except ImageError as error:
        return unreadable_row(layer.path, str(error))
