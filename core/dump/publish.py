"""From captured values to a committed layer: encoding and writing, all of it outside the freeze (but for a last dump)."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lamina.core.attach.procfs import PAGE
from lamina.core.dump.capture import Captured
from lamina.core.dump.meter import Meter
from lamina.core.dump.request import DumpRequest
from lamina.core.dump.shared_memories import SharedMemories
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.dump.watched import Watched
from lamina.core.image import format as fmt
from lamina.core.image.draft import LayerDraft
from lamina.core.image.schema import dump_stats_entry, inventory_entry, stats_entry
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.supplement import Supplement
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.kinds.task import pstree
from lamina.core.kinds.task.ids import IdTable
from lamina.core.kinds.thread.registers import ThreadRegisters
from lamina.core.objects import capture as descriptors
from lamina.core.objects.file_table import FileTable
from lamina.core.objects.task_capture import save_task, supplement_of
from lamina.core.objects.task_kind import CG_SET

PRE_DUMP_READ = 2  # inventory.pre_dump_mode: pages were read from outside (CRIU's --pre-dump-mode read)
LOCK_SKIP = 3  # inventory.network_lock_method: no connection is kept, so none was locked


def put_memory(memories: Sequence[TaskMemory], meter: Meter) -> None:
    """Deliver every task's pages and its map."""
    meter.phase("write", sum(memory.own.pages for memory in memories))
    for memory in memories:
        memory.finish(meter.moved)


def put_images(draft: LayerDraft, captured: Captured, shared: SharedMemories) -> Supplement:
    """Write everything of the tasks but their pages. Nothing of it touches the target. Returns what the images have no field for."""
    files, ids = FileTable(), IdTable(captured.descriptors.shared)
    for key, number in shared.numbers.items():
        files.once(("shared memory", *key), partial(int, number))
    alive = [task for task in captured.tasks if not task.is_zombie]
    for task in captured.tasks:
        for name, (kind, records) in save_task(task, files, ids.of(task.pid), ATTRIBUTES).items():
            draft.put(name, kind, records)
    tables = descriptors.save(captured.descriptors, files, {task.pid: ids.of(task.pid).files_id for task in alive})
    for name, image in (tables | files.images()).items():
        draft.put(name, *image)
    draft.put("pstree", fmt.PSTREE, pstree.save(captured.tasks))
    objects = {memory.number: {"size": memory.size} for memory in shared}
    return replace(supplement_of(alive, files.supplements, ATTRIBUTES), objects=objects)


def put_inventory(draft: LayerDraft, request: DumpRequest) -> None:
    """The record without which nobody restores; `LayerDraft.commit` puts it in place last."""
    entry = inventory_entry(
        img_version=2,
        fdinfo_per_id=True,
        ns_per_id=True,
        root_ids=IdTable().root(),
        root_cg_set=CG_SET,
        network_lock_method=LOCK_SKIP,
    )
    if request.track_mem or request.memory_only:
        entry.dump_uptime = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    if request.memory_only:
        entry.pre_dump_mode = PRE_DUMP_READ
    draft.put("inventory", fmt.INVENTORY, [entry])


def put_stats(draft: LayerDraft, meter: Meter) -> None:
    """stats-dump, with CRIU's names."""
    stats = meter.stats()
    entry = dump_stats_entry(
        freezing_time=stats.freezing_time,
        frozen_time=stats.frozen_time,
        memdump_time=stats.memdump_time,
        memwrite_time=stats.memwrite_time,
        pages_scanned=stats.pages_scanned,
        pages_skipped_parent=stats.pages_skipped_parent,
        pages_written=stats.pages_written,
        pages_lazy=0,
    )
    draft.put("stats-dump", fmt.STATS_DUMP, [stats_entry(dump=entry)])


def describe_layer(
    request: DumpRequest, layer_id: str, parent_id: str, root: Watched, cmdline: tuple[str, ...], captured: Captured,
    supplement: Supplement, meter: Meter, frozen_at: float,
) -> Sidecar:  # fmt: skip
    """The sidecar: what CRIU's images do not say. *parent_id*: "" for a full dump; *frozen_at*: seconds since 1970."""
    name, identity = os.uname(), root.identity
    threads, registers = [thread for task in captured.tasks for thread in task.threads], ThreadRegisters()
    return Sidecar(
        layer_id=layer_id,
        parent_id=parent_id or None,
        label=request.label,
        time=frozen_at,
        host=name.nodename,
        kernel=f"{name.sysname} {name.release} {platform.machine()}",
        page_size=PAGE,
        cpu_features=_cpu_features(),
        cmdline=cmdline,
        pid=identity.pid,
        start_time=identity.start_time,
        boot=identity.boot,
        tracker=root.tracker.name,
        tracked=root.armed and (request.track_mem or request.memory_only),
        freeze_us=meter.between("stopping", "thawed"),
        dump_us=meter.elapsed_us,
        live_rounds=meter.live_rounds,
        memory_only=request.memory_only,
        supplement=supplement,
        restarts={thread.tid: code for thread in threads if (code := thread.of(registers).restart)},
    )


def _cpu_features() -> tuple[str, ...]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return tuple(sorted(line.partition(":")[2].split()))
    return ()
