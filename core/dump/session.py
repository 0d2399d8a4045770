"""The recipe of a dump: look, watch, copy live, freeze, capture, thaw, publish, settle.

Only what must be consistent happens inside the freeze. The target is never worse off than before: every path out of here thaws it, takes
out what was put in, and leaves the stack as it was unless the layer was committed.
"""

import errno
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache

from lamina.core.attach.identity import identify
from lamina.core.attach.procfs import describe, read_cmdline, read_maps, tree_of
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenProcess, FrozenTree
from lamina.core.dirty.state import lock_target
from lamina.core.dump.arming import arm_missing, end_tracking, frozen
from lamina.core.dump.capture import Captured, Prepared, areas_of, capture_rest, capture_task, prepare
from lamina.core.dump.companion import Beside
from lamina.core.dump.destination import LocalPages, Shipment
from lamina.core.dump.lineage import Lineage, decide
from lamina.core.dump.live import WORTH_IT, copy_live, residue_room
from lamina.core.dump.memories import Memories
from lamina.core.dump.meter import Meter
from lamina.core.dump.paranoid import Paranoia
from lamina.core.dump.preflight import examine
from lamina.core.dump.publish import describe_layer, put_images, put_inventory, put_memory, put_stats
from lamina.core.dump.recover import recover_targets
from lamina.core.dump.request import DumpRequest, DumpResult
from lamina.core.dump.shared_memories import SharedMemories
from lamina.core.dump.task_memory import TaskMemory
from lamina.core.dump.watched import WatchedTree
from lamina.core.errors import LaminaError, NativeError, RefusedError, TargetError
from lamina.core.events import CancelToken, Listener, ignore
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import cannot_write, sweep_whole_stack
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.sidecar import new_layer_id
from lamina.core.image.supplement import Supplement
from lamina.core.kinds.thread.landlock import Peers
from lamina.core.rewrite.dedup import dedup

WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def dump(request: DumpRequest, listener: Listener = ignore, cancel: CancelToken | None = None) -> DumpResult:
    """Make one layer of the tree below `request.pid`.

    Raises:
        RefusedError: something stands in the way; nothing was touched.
        LaminaError: it failed; the target runs on and the stack is as it was.
        Cancelled: *cancel* was set before the layer was committed.
    """
    recover_targets()
    return tracer().call(_dump, request, Meter(listener), cancel or CancelToken())


def _dump(request: DumpRequest, meter: Meter, cancel: CancelToken) -> DumpResult:
    if request.paranoid and request.destination:
        raise RefusedError("cannot compare", "what is sent to a page server", "it cannot be read back", "leave out --paranoid")
    identity = identify(request.pid)
    examination = examine(request.pid, shell_job=request.shell_job)
    if examination.blockers:
        raise RefusedError("cannot dump", describe(request.pid), blockers=examination.blockers)
    with ExitStack() as stack:
        stack.enter_context(lock_target(identity))
        stack.enter_context(locked(stack_of(request.images_dir)))
        sweep_whole_stack(request.images_dir)  # before the parent is looked for: it may be a layer that is only to be finished
        parent = None if request.prev_images_dir is None else Layer(request.images_dir / request.prev_images_dir)
        tree = WatchedTree(examination.pids)
        stack.callback(tree.close)
        root = tree.of(request.pid)
        lineage = decide(parent, identity, root.remembered.state, root.why_nothing_is_known)
        if parent and request.destination is None and (where := parent.pages_elsewhere):
            lineage = replace(lineage, why_not=f"its pages are at page server {where}")
        session = Session(request, meter, cancel, tree, lineage, examination.own_uffds)
        stack.callback(session.close)
        expected = session.look()
        draft = LayerDraft.create(request.images_dir, request.prev_images_dir, session.destination.room(expected))
        stack.callback(session.destination.close)
        session.run(stack.enter_context(draft), expected)
        return session.result()


class Session:
    """One dump under way."""

    def __init__(
        self,
        request: DumpRequest,
        meter: Meter,
        cancel: CancelToken,
        tree: WatchedTree,
        lineage: Lineage,
        own_uffds: Collection[int],
    ) -> None:
        """*own_uffds*: inodes of userfaultfds that preflight knows for lamina's, whoever holds a copy."""
        self.request = request
        self.meter = meter
        self.cancel = cancel
        self.tree = tree
        self.lineage = lineage
        self.own_uffds = set(own_uffds)
        self.layer_id = new_layer_id()
        self.root = tree.of(request.pid)
        self.cmdline = tuple(read_cmdline(request.pid))
        self.keeps_running = request.leave_running or request.memory_only
        self.tracks = (request.track_mem or request.memory_only) and self.keeps_running
        self.destination = request.destination or LocalPages()
        self.frozen_at = 0.0
        self.pids: tuple[int, ...] = ()
        self._memories = Memories(tree, lineage)
        self._shared = SharedMemories(tree, lineage, self._memories, self.root.remembered.state.shared)
        self._beside = Beside(request.companion, meter)
        self._paranoia = Paranoia(lineage.parent.chain() if lineage.parent else ()) if request.paranoid else None
        self._before = {task.pid: task.remembered.state for task in tree}

    # -- the recipe ------------------------------------------------------------------------------------------------------------------

    def look(self) -> int:
        """Pages the layer would have to own if the target stopped now."""
        pages, areas = 0, {}
        for task in self.tree:
            try:
                areas[task.pid] = read_maps(task.pid)
                pages += self._memories.of(task.pid).look(areas[task.pid]).pages
            except TargetError:
                if task is self.root:
                    raise  # any other may end while we look
        return pages + self._shared.look(areas)

    def close(self) -> None:
        """Let go of what `look` has opened."""
        self._shared.close()

    def run(self, draft: LayerDraft, expected: int) -> None:
        """All of it, from the first protected page to the settled state."""
        self.draft = draft
        self._tell_limits()
        shipment = Shipment(draft, self.layer_id, self.lineage.layer_id, self.keeps_running, self.meter.notice, self.cancel)
        self.destination.open(shipment)
        try:
            residue = expected
            if self.keeps_running and expected > WORTH_IT and self.root.can_track:
                residue = self._live(expected)
            for task in self.tree.alive():
                task.unsettle()
            self._memories.reserve(residue_room(residue) if self.keeps_running else 0)
            with self._writing():
                self._freeze_and_publish()
        except BaseException:
            self._undo()
            raise
        self._settle()
        if self.request.auto_dedup and self.request.prev_images_dir:
            self._dedup()

    def _live(self, expected: int) -> int:
        self.meter.phase("arm")
        arm_missing(self.tree, self.request.pid)
        for task in self.tree.alive():
            task.unsettle()
        with self._writing():
            memories = [self._memories.begin(task.pid, self.destination) for task in self.tree.alive() if task.armed]
            memories += self._shared.begin_live(self.destination)
            return copy_live(memories, self._writers, expected, self.meter, self.cancel)

    def _writers(self) -> set[int]:
        """Processes that may write into the tree's memory: all of it, and what has left it since it was looked at."""
        return {task.pid for task in self.tree.alive()} | set(tree_of(self.request.pid))

    def _freeze_and_publish(self) -> None:
        self.cancel.check(f"dump of {describe(self.request.pid)}")
        self.meter.phase("freeze")
        alive = [task.pid for task in self.tree.alive()]
        with ExitStack() as stack:
            peers = stack.enter_context(Peers(alive))
            known = prepare(alive, peers)
            still = stack.enter_context(frozen(self.tree, self.request.pid))
            self.meter.mark("stopping", still.processes[0].frozen_ns)
            self.meter.mark("frozen")
            self.frozen_at = time.time()
            self._beside.frozen()
            captured = self._capture(still, known, peers)
            if not self.keeps_running:
                with captured.descriptors:
                    self._publish(captured)
                still.kill()
        if self.keeps_running:
            self.meter.mark("thawed", still.thawed_ns)
            with captured.descriptors:
                self._publish(captured)

    def _capture(self, still: FrozenTree, known: dict[int, Prepared], peers: Peers) -> Captured:
        taken = []
        self.pids = still.pids
        self.meter.mark("scanning")
        for process in still:
            still.prepare_scratch(process)
            prepared = known.get(process.pid, Prepared())
            areas = areas_of(process, prepared.areas)
            memory = self._last_round(process)
            taken.append(capture_task(process, areas, peers, memory.guards, prepared.questions))
        self._shared.freeze_round(
            {process.pid: process.areas for process in still}, self.destination, self.meter.moved, not self.keeps_running,
            cache(lambda: any(task.reaps_unseen() for task in taken)),
        )  # fmt: skip
        self.meter.mark("copied")
        if self._paranoia:
            self.meter.notice(self._paranoia.notice())
        uffds = {task.remembered.state.uffd_ino for task in self.tree} | self.own_uffds
        return capture_rest(still, taken, uffds - {0})

    def _last_round(self, process: FrozenProcess) -> TaskMemory:
        self._same_program(process)
        task = self.tree.of(process.pid)
        if self.tracks and task.can_track and not task.armed:
            task.arm(process.leader, process.areas)
        elif task.armed:
            task.tracker.extend(process.areas, live=False)
        task.unsettle()
        memory = self._memories.begin(process.pid, self.destination)
        memory.freeze_round(process.areas, self.meter.moved, straight=not self.keeps_running)
        if self._paranoia:
            self._paranoia.check(memory, process.areas, self.meter.moved)
        return memory

    def _same_program(self, process: FrozenProcess) -> None:
        """A task that replaced its program since it was looked at has lost its tracker: what was found about it is void."""
        if not self.tree.of(process.pid).is_current(process.areas):
            self.tree.renew(process.pid)
            memory = self._memories.forget(process.pid)
            if memory and memory.begun:
                raise TargetError("cannot dump", describe(process.pid), "it replaced its program by exec meanwhile", "dump it again")

    def _publish(self, captured: Captured) -> None:
        memories = [*(self._memories.of(task.pid) for task in captured.tasks if not task.is_zombie), *self._shared]
        for notice in (*captured.notices, *self._shared.notices()):
            self.meter.notice(notice)
        self.meter.pages_scanned = sum(memory.scanned for memory in memories)
        self.meter.pages_inherited = sum(memory.inherited.pages for memory in memories)
        self.meter.pages_written = sum(memory.own.pages for memory in memories)
        self.meter.mark("writing")
        put_memory(memories, self.meter)
        supplement = Supplement() if self.request.memory_only else put_images(self.draft, captured, self._shared)
        put_inventory(self.draft, self.request)
        self._beside.put(self.draft)
        self.meter.mark("written")
        if not self.keeps_running:
            self.meter.mark("thawed")  # nobody waits for this thaw; the statistics count to here
        put_stats(self.draft, self.meter)
        self.cancel.check(f"dump of {describe(self.request.pid)}")
        self.meter.phase("commit", self.meter.pages_written)
        sidecar = describe_layer(
            self.request, self.layer_id, self.lineage.layer_id, self.root, self.cmdline, captured, supplement, self.meter, self.frozen_at
        )
        self.destination.commit(sidecar)

    # -- before and after ------------------------------------------------------------------------------------------------------------

    def _tell_limits(self) -> None:
        if self.lineage.why_not:
            self.meter.notice(f"a full layer: nothing is inherited from {self.request.prev_images_dir}: {self.lineage.why_not}")
        elif self.lineage.parent:
            self._tell_of_children(self.lineage.parent.pids)
        elif self.root.why_lost:
            self.meter.notice(f"a full layer: {self.root.why_lost}")
        if self.tracks and not self.root.can_track:
            reason = getattr(self.root.tracker, "reason", "")
            self.meter.notice(f"memory cannot be tracked ({reason}): this and the next dump are full ones")

    def _tell_of_children(self, in_parent: Collection[int]) -> None:
        """A child of the last layer may have lost its tracking by itself."""
        by_reason = defaultdict(list)
        for task in self.tree:
            if task is not self.root and task.pid in in_parent and (why := task.why_nothing_is_known(self.lineage.layer_id)):
                by_reason[why].append(task.pid)
        for why, pids in by_reason.items():
            who = describe(pids[0]) + (f" and {len(pids) - 1} more processes" if len(pids) > 1 else "")
            self.meter.notice(f"all pages of {who} are written: {why}")

    def _settle(self) -> None:
        if self.draft.path != self.request.images_dir:
            moved = f"{self.request.images_dir} was renamed meanwhile: the layer is {self.draft.path}"
            self.meter.notice(f"{moved} (`lamina verify` tells whether it still finds its parent)" if self.lineage.parent else moved)
        if not self.keeps_running:
            for task in self.tree:
                task.forget()
            return
        try:
            directory = str(self.draft.path.resolve())
            for task in self.tree.alive():
                task.settle(self.layer_id, directory, self._shared.witness if task is self.root else "")
        except LaminaError as error:  # it stays unsettled, which costs no more than a full layer
            self.meter.notice(f"the layer is committed, but the next one will be a full one: {error}")
        if not self.tracks:
            try:
                end_tracking(self.tree, self.request.pid)
            except LaminaError as error:
                self.meter.notice(f"the layer is committed, but tracking goes on: {error}")

    def _dedup(self) -> None:
        """Only now: the layer is committed and whole whatever happens to its ancestors' copies."""
        self.meter.phase("dedup")
        try:
            _, freed = dedup(Layer(self.draft.path), locked_already=True)
            self.meter.notice(f"{freed >> 10} KiB were taken out of the ancestors; those that lost pages are marked")
        except LaminaError as error:
            self.meter.notice(f"the layer is committed, but its ancestors keep their copies: {error}")

    def _undo(self) -> None:
        """The dump failed: what the tracker has told us it shall tell again, and a tracker that is new goes. Errors here hide no other."""
        with suppress(LaminaError):
            end_tracking(self.tree, self.request.pid, lambda task: not task.was_armed)
        self._shared.give_back()
        for task in self.tree.alive():
            before, memory = self._before.get(task.pid), self._memories.known(task.pid)
            with suppress(LaminaError):
                if task.was_armed and memory:
                    memory.give_back()
                    if not memory.certain:
                        continue  # pages may be protected that nobody was told of: the state stays unsettled
                if before and before.layer_id:
                    task.remembered.update(settled=before.settled)
                elif not task.was_armed and not task.armed:
                    task.forget()

    def result(self) -> DumpResult:
        """What to tell the user."""
        return DumpResult(
            images_dir=self.draft.path,
            layer_id=self.layer_id,
            stats=self.meter.stats(),
            pids=self.pids,
            tracker=self.root.tracker.name,
            notices=tuple(self.meter.notices),
            elapsed_us=self.meter.elapsed_us,
            live_rounds=self.meter.live_rounds,
            sent_to=self.destination.where,
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk is the layer's trouble, not the target's: say it as such."""
        try:
            yield
        except NativeError as error:
            if error.errnum in WRITE_ERRORS:
                raise cannot_write(self.request.images_dir, error.errnum) from error
            raise
        except OSError as error:
            raise cannot_write(self.request.images_dir, error.errno or 0) from error
