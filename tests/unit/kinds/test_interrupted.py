"""Registers of interrupted calls, as a new process gets them."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamina.core.attach.calls import SYSCALL_NUMBERS
from lamina.core.attach.tracee import REGISTERS
from lamina.core.attach.tracer import tracer
from lamina.core.attach.tree import FrozenTree
from lamina.core.kinds.thread import interrupted

MASK = 2**64 - 1


def stopped(name: str, code: int, **more: int) -> dict[str, int]:
    regs = dict.fromkeys(REGISTERS, 0)
    return regs | {"orig_rax": SYSCALL_NUMBERS[name], "rax": -code & MASK, "rip": 0x401002} | more


@pytest.mark.parametrize("code", [512, 513, 514, 4, 110])
def test_codes_the_kernel_finishes_by_itself_stay(code: int) -> None:
    regs = stopped("write", code)
    assert interrupted.for_new_process(regs) == regs


@pytest.mark.parametrize("name", ["poll", "futex", "nanosleep", "clock_nanosleep"])
def test_eintr_in_place_of_a_restart_block_is_criu(name: str) -> None:
    regs = stopped(name, 4, rdi=1)
    assert interrupted.for_new_process(regs) == interrupted.for_new_process(regs | {"rax": -516 & MASK})


@pytest.mark.parametrize("code", [512, 513, 514])
def test_an_image_lets_the_call_be_made_again(code: int) -> None:
    """By rt_sigreturn, as criu does it; with the code of the sidecar the kernel decides, as it would have."""
    regs = stopped("read", code)
    image, recorded = interrupted.for_image(regs)
    assert image == regs | {"rax": regs["orig_rax"], "rip": regs["rip"] - 2}
    assert recorded == code
    assert interrupted.for_new_process(image, recorded=recorded) == regs
    assert interrupted.for_new_process(image) == image


def test_an_image_holds_no_restart_block() -> None:
    regs = stopped("nanosleep", 516, rdi=0x1000, rsi=0x2000)
    image, recorded = interrupted.for_image(regs)
    assert image == regs | {"rax": regs["orig_rax"], "rip": regs["rip"] - 2, "rdi": 0x2000}
    assert interrupted.for_new_process(image, recorded=recorded) == interrupted.for_new_process(regs)


def test_a_restarted_restart_block_is_eintr_in_an_image_and_found_again() -> None:
    regs = stopped("restart_syscall", 516)
    code = b"\x90" * 9 + b"\xb8" + struct.pack("<I", SYSCALL_NUMBERS["poll"]) + b"\x0f\x05"
    image, recorded = interrupted.for_image(regs)
    assert (image["rax"], recorded) == (-4 & MASK, 0)
    assert interrupted.for_new_process(image, code) == interrupted.for_new_process(regs, code)


@pytest.mark.parametrize("code", [0, 4, 110])
def test_results_are_results_in_an_image(code: int) -> None:
    regs = stopped("read", code)
    assert interrupted.for_image(regs) == (regs, 0)


def test_outside_a_call_nothing_changes() -> None:
    regs = stopped("poll", 516, orig_rax=MASK)
    assert not interrupted.in_call(regs)
    assert interrupted.for_new_process(regs) == regs


@pytest.mark.parametrize("name", ["poll", "futex"])
def test_waits_are_made_again_in_full(name: str) -> None:
    regs = stopped(name, 516, rsi=1, r10=2)
    assert interrupted.for_new_process(regs) == regs | {"rax": -514 & MASK}


def test_sleeps_go_on_with_the_remainder() -> None:
    regs = stopped("nanosleep", 516, rdi=0x1000, rsi=0x2000)
    assert interrupted.for_new_process(regs) == regs | {"rax": -514 & MASK, "rdi": 0x2000}
    regs = stopped("clock_nanosleep", 516, rdx=0x1000, r10=0x2000)
    assert interrupted.for_new_process(regs) == regs | {"rax": -514 & MASK, "rdx": 0x2000}
    regs = stopped("clock_nanosleep", 516, rdx=0x1000)
    assert interrupted.for_new_process(regs) == regs | {"rax": -514 & MASK}


@pytest.mark.parametrize("name", ["poll", "futex", "nanosleep", "clock_nanosleep"])
def test_a_call_restarted_before_is_known_by_its_code(name: str) -> None:
    regs = stopped("restart_syscall", 516)
    code = b"\x90" * 9 + b"\xb8" + struct.pack("<I", SYSCALL_NUMBERS[name]) + b"\x0f\x05"
    new = interrupted.for_new_process(regs, code)
    assert (new["orig_rax"], new["rax"]) == (SYSCALL_NUMBERS[name], -514 & MASK)


@pytest.mark.parametrize("code", [b"", b"\x0f\x05", b"\x48\x89\xf8\x90\x90\x0f\x05", b"\xb8\x3c\x00\x00\x00\x0f\x05"])
def test_a_call_that_cannot_be_told_answers_eintr(code: bytes) -> None:
    new = interrupted.for_new_process(stopped("restart_syscall", 516), code)
    assert new["rax"] == -4 & MASK


@pytest.mark.parametrize("name", ["epoll_wait", "rt_sigtimedwait", "accept4"])
def test_calls_that_answer_eintr_to_any_stop_are_made_again(name: str) -> None:
    regs = stopped(name, 4)
    assert interrupted.for_new_process(regs) == regs | {"rax": -514 & MASK}


def test_connect_is_not_made_again() -> None:
    regs = stopped("connect", 4)
    assert interrupted.for_new_process(regs) == regs


WAITS = {
    "clock_nanosleep": ["sleep", "1000"],
    "poll": [sys.executable, "-c", "import select; select.poll().poll(1_000_000)"],
    "poll, beside a thread": [
        sys.executable,
        "-c",
        "import select, threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); select.poll().poll(1_000_000)",
    ],
}


def until_in_call(pid: int, name: str) -> None:
    """Wait until the kernel says that *pid* waits in that call."""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/syscall").read_text().split()[0] != str(SYSCALL_NUMBERS[name]):
        assert time.monotonic() < deadline, f"it never waited in {name}"
        time.sleep(0.001)


def stop_and_look(pid: int) -> tuple[dict[str, int], bytes, bytes]:
    with FrozenTree(pid) as tree:
        (process,) = tree
        regs = process.leader.registers()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(regs["rip"] - interrupted.CODE_BYTES)
            code = memory.read(interrupted.CODE_BYTES)
            memory.seek(regs["rsp"])
            return regs, code, memory.read(interrupted.STACK_BYTES)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: ptrace")
@pytest.mark.parametrize("wait", WAITS)
def test_a_real_wait_is_told_at_its_first_stop_and_at_later_ones(wait: str) -> None:
    name = wait.partition(",")[0]
    with subprocess.Popen(WAITS[wait]) as process:
        try:
            until_in_call(process.pid, name)
            regs, _, _ = tracer().call(stop_and_look, process.pid)
            assert regs["orig_rax"] == SYSCALL_NUMBERS[name]
            first = interrupted.for_new_process(regs)
            assert first["rax"] == -514 & MASK
            until_in_call(process.pid, "restart_syscall")
            regs, code, stack = tracer().call(stop_and_look, process.pid)
            assert regs["orig_rax"] == SYSCALL_NUMBERS["restart_syscall"]
            assert interrupted.for_new_process(regs, code, stack=stack) == first | {"rcx": regs["rcx"], "r11": regs["r11"]}
        finally:
            process.kill()
