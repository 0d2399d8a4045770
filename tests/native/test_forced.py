"""Signals that the kernel forces on a call made inside a target, or on its batch: the target is put back, and it is one error."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.attach.calls import CallList
from lamina.core.attach.guarded import guarded_calls
from lamina.core.attach.procfs import PAGE, read_maps
from lamina.core.attach.scratch import unmap_scratch
from lamina.core.attach.tracee import SLICE, Tracee
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.errors import LaminaError, TargetError
from tests.native.steady import Steady

# In the file of its counts, which it has open as 3: code to be read over the batch's own.
CODE_AT, CODE_SIZE = 1024, 512
PR_SET_SYSCALL_USER_DISPATCH = 59
BLOCK = b"\1"

Spoil = Callable[[CallList, Tracee], None]


def code(byte: int) -> Spoil:
    def spoil(calls: CallList, tracee: Tracee) -> None:
        with Path(f"/proc/{tracee.pid}/fd/3").open("r+b") as file:
            file.seek(CODE_AT)
            file.write(bytes([byte]) * CODE_SIZE)
        calls.add("pread64", 3, tracee.page + 256, CODE_SIZE, CODE_AT)

    return spoil


def unmapped(calls: CallList, tracee: Tracee) -> None:
    calls.add("munmap", tracee.page, SLICE)


def protected(calls: CallList, tracee: Tracee) -> None:
    calls.add("mprotect", tracee.page, SLICE, 0)


def beyond_its_file(calls: CallList, tracee: Tracee) -> None:
    calls.add("mmap", tracee.page, SLICE, 7, 0x12, 3, 1 << 20)


def dispatched(calls: CallList, tracee: Tracee) -> None:
    # What lies above the scratch range, the C library and the vdso, may make calls as before.
    above = max(area.end for area in read_maps(tracee.pid) if area.start <= tracee.page)
    calls.add("prctl", PR_SET_SYSCALL_USER_DISPATCH, 1, above, (1 << 47) - PAGE - above, calls.data(BLOCK))


SPOILT = {
    "SIGILL": code(0x06),  # push %es, which is no instruction in 64 bits
    "SIGTRAP": code(0xCC),
    "SIGSEGV, hlt": code(0xF4),
    "SIGSEGV, unmapped": unmapped,
    "SIGSEGV, protected": protected,
    "SIGBUS": beyond_its_file,
    "SIGSYS": dispatched,
}


@pytest.mark.parametrize(
    ("name", "steady"),
    [(name, "") for name in SPOILT] + [(name, how) for name in ("SIGTRAP", "SIGSEGV, unmapped") for how in ("handled", "ignored")],
    indirect=["steady"],
)
def test_a_forced_signal_puts_the_thread_back(name: str, steady: Steady) -> None:
    before = steady.status()

    def work(which: int) -> None:
        tree = FrozenTree(steady.pid)
        tree.prepare(steady.pid)
        with tree:
            (process,) = tree
            tree.prepare_scratch(process)
            tracee = process.tracees[which]
            calls = CallList()
            calls.add("getpid", expect=steady.pid)
            SPOILT[name](calls, tracee)
            calls.add("getpid", expect=steady.pid)
            tracee.run(calls)

    for which in range(2):
        began = time.monotonic()
        with pytest.raises(LaminaError, match=name[:7]):
            tracer().call(work, which)
        assert time.monotonic() - began < 1
        steady.goes_on()
        assert steady.status() == before
        if name == "SIGSYS":
            # From now on it is one of those in which no call can be made, and that is seen before any is.
            with pytest.raises(TargetError, match="PR_SET_SYSCALL_USER_DISPATCH"):
                tracer().call(work, which)
            break


def test_a_signal_that_somebody_sends_meanwhile_is_the_targets_own(steady: Steady) -> None:
    """One that could have been forced, too: SIGTRAP ends the program, which it must do afterwards and not before."""

    def work() -> None:
        with FrozenTree(steady.pid) as tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            for _ in range(100):
                calls.add("kill", steady.pid, 5)
                calls.add("tgkill", steady.pid, steady.pid, 5)
            process.leader.run(calls)
            calls = CallList()
            calls.add("getpid", expect=steady.pid)
            process.leader.run(calls)

    tracer().call(work)
    assert steady.process.wait(timeout=10) == -5


@pytest.mark.parametrize("spoil", ["unmap", "replace"])
def test_a_program_that_takes_the_scratch_range_away_gets_another(spoil: str, steady: Steady) -> None:
    before = steady.maps()

    def work() -> None:
        tree = FrozenTree(steady.pid)
        tree.prepare(steady.pid)
        (address, size) = tree._scratch[steady.pid]
        if spoil == "unmap":
            unmap_scratch(steady.pid, address + PAGE, PAGE)
            unmap_scratch(steady.pid, address, size)
        else:
            # Something of the program's own, exactly there: neither used nor unmapped.
            assert guarded_calls(steady.pid, [("mmap", address, size, 3, 0x32, -1, 0)]) == [address]
        with tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            calls.add("getpid", expect=steady.pid)
            process.leader.run(calls)
        if spoil == "replace":
            assert any((area.start, area.end, area.perms) == (address, address + size, "rw-p") for area in read_maps(steady.pid))
            unmap_scratch(steady.pid, address, size)

    tracer().call(work)
    steady.goes_on()
    assert steady.maps() == before


def test_a_batch_that_does_not_end_is_given_up(steady: Steady) -> None:
    before = steady.status(), steady.maps()

    def work() -> None:
        tree = FrozenTree(steady.pid)
        tree.prepare(steady.pid)
        with tree:
            (process,) = tree
            tree.prepare_scratch(process)
            calls = CallList()
            calls.add("select", 0, 0, 0, 0, 0)  # for ever
            process.leader.run(calls)

    began = time.monotonic()
    with pytest.raises(LaminaError, match="does not end"):
        tracer().call(work)
    assert time.monotonic() - began < 2
    steady.goes_on()
    assert (steady.status(), steady.maps()) == before


def test_a_failure_between_start_and_finish_leaves_nobody_in_a_batch(steady: Steady) -> None:
    before = steady.status(), steady.maps()

    def work() -> None:
        tree = FrozenTree(steady.pid)
        tree.prepare(steady.pid)
        with tree:
            (process,) = tree
            tree.prepare_scratch(process)
            for tracee in process.tracees:
                calls = CallList()
                calls.add("select", 0, 0, 0, 0, calls.data(struct.pack("2q", 0, 200000)))
                tracee.start(calls)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        tracer().call(work)
    steady.goes_on()
    assert (steady.status(), steady.maps()) == before
    assert os.listdir(f"/proc/{steady.pid}/task")
