"""System calls that a stop interrupted: their registers in an image, and in a *new* process.

A stopped thread that was waiting in the kernel shows one of the kernel's own codes in rax (include/linux/errno.h); put back unchanged
with orig_rax, the kernel of any process finishes them: it restarts the call, or gives EINTR if a handler is due. Three things need help:

* ERESTART_RESTARTBLOCK (-516): the rest of the wait is known only to the old process's kernel structure. In a new one it is EINTR, so the
  call itself is restarted. A sleep with a remainder pointer continues with the remainder that the kernel wrote there; others wait in full
  again.
* restart_syscall: the kernel puts that number in place of the original one when it resumes such a wait, so a second stop of the same wait
  does not show which call it is. The code before the instruction pointer does: a number put into eax or, since glibc 2.41, whose calls that
  a thread may be cancelled in go through one function, a number taken from the stack.
* EINTR from a call that answers it to any stop, even one without a signal: the stop was the dump's. lamina marks these for restart at the
  freeze (native/tracee.c); images of CRIU still have them. They also have EINTR for every restart block.

An image must not hold the kernel's codes: criu restores by rt_sigreturn(2), which ends the call, and the program would see errno 514. As in
CRIU, `for_image` lets the thread make the call again: the instruction pointer at the call, its number in rax. What that loses, whether a
handler that is due means EINTR instead, is the code, which the sidecar keeps.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lamina.core.attach.calls import SYSCALL_NUMBERS

ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK, EINTR = 512, 513, 514, 516, 4
RESTARTING: Final = frozenset({ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND})
"""Codes that mean: the same call again."""
CODE_BYTES: Final = 16
"""How much code before the instruction pointer `for_new_process` wants to see."""
STACK_BYTES: Final = 256
"""How much of the stack it wants to see, from the stack pointer on."""
_MASK: Final = 2**64 - 1
_SYSCALL: Final = b"\x0f\x05"
_MOV_EAX: Final = 0xB8
# glibc 2.41, nptl/cancellation.c: the number is the seventh argument, so it came on the stack: mov N(%rsp),%rax.
_FROM_STACK: Final = b"\x48\x8b\x44\x24"
# The same with threads, sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S: mov %r11,8(%rsp). Its caller's argument lies five words up.
_CANCEL_ARCH: Final = b"\x4c\x89\x5c\x24\x08" + _SYSCALL
_CANCEL_ARCH_NUMBER: Final = 0x28
_NO_CALL: Final = _MASK
_EPOLL_PWAIT2: Final = 441
_RESTART_SYSCALL: Final = SYSCALL_NUMBERS["restart_syscall"]
_NANOSLEEP: Final = SYSCALL_NUMBERS["nanosleep"]
_CLOCK_NANOSLEEP: Final = SYSCALL_NUMBERS["clock_nanosleep"]
_BLOCKS: Final = frozenset({_NANOSLEEP, _CLOCK_NANOSLEEP, SYSCALL_NUMBERS["poll"], SYSCALL_NUMBERS["futex"]})
"""Calls that answer ERESTART_RESTARTBLOCK."""

NEVER_RESTARTED: Final = frozenset(
    SYSCALL_NUMBERS[name]
    for name in (
        "read", "readv", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "accept", "accept4", "epoll_wait", "epoll_pwait",
        "rt_sigtimedwait", "semop", "semtimedop", "msgrcv", "msgsnd", "io_getevents", "mq_timedreceive", "mq_timedsend",
    )
) | {_EPOLL_PWAIT2}  # fmt: skip
"""Calls that may answer EINTR themselves after any stop (signal(7), "… by stop signals"; reads and socket calls
only with a timeout on the socket). With ERESTARTNOHAND in its place the kernel decides: again, unless a handler is due. connect(2) is not
among them: made again, it answers EALREADY."""

REMAINDER: Final = MappingProxyType({_NANOSLEEP: ("rdi", "rsi"), _CLOCK_NANOSLEEP: ("rdx", "r10")})
"""Sleep → registers of its request and its remainder pointer."""


def _code(rax: int) -> int:
    """The kernel code in *rax* as a positive number, 0 if it is none."""
    return -(rax - (1 << 64)) if rax > _MASK - 4096 else 0


def in_call(regs: Mapping[str, int]) -> bool:
    """Whether the thread was stopped inside a system call."""
    return regs["orig_rax"] != _NO_CALL and regs["orig_rax"] < 1 << 31


def call_number(regs: Mapping[str, int], code: bytes = b"", stack: bytes = b"") -> int | None:
    """Which call was interrupted; None if it cannot be told. *code*: bytes of memory that end at rip; *stack*: that begin at rsp."""
    number = regs["orig_rax"]
    if number != _RESTART_SYSCALL:
        return number
    # `mov $number,%eax; syscall`, as every wrapper of a fixed call is compiled.
    found = None
    if len(code) >= 7 and code[-2:] == _SYSCALL and code[-7] == _MOV_EAX:
        found = int.from_bytes(code[-6:-2], "little")
    elif code[-2:] == _SYSCALL and code[-7:-3] == _FROM_STACK:
        found = int.from_bytes(stack[code[-3] : code[-3] + 8], "little")
    elif code.endswith(_CANCEL_ARCH):
        found = int.from_bytes(stack[_CANCEL_ARCH_NUMBER : _CANCEL_ARCH_NUMBER + 8], "little")
    return found if found in _BLOCKS else None


def for_image(regs: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Registers as an image has them, and the code for the sidecar (one of RESTARTING, or 0).

    *regs* are those of the stopped thread, names as in `struct user_regs_struct`.
    """
    if not in_call(regs) or _code(regs["rax"]) not in RESTARTING | {ERESTART_RESTARTBLOCK}:
        return dict(regs), 0
    new = for_new_process(regs)
    code = _code(new["rax"])
    if code in RESTARTING:
        new["rax"] = new["orig_rax"]
        new["rip"] -= len(_SYSCALL)
        return new, code
    return new, 0  # a restarted restart block: EINTR, until `for_new_process` sees the code


def for_new_process(regs: Mapping[str, int], code: bytes = b"", recorded: int = 0, stack: bytes = b"") -> dict[str, int]:
    """Registers to put into a new process (RESTORE's last step, before PTRACE_SETREGS).

    Args:
        regs: as the image has them, names as in `struct user_regs_struct`.
        code: up to CODE_BYTES bytes of the thread's memory that end at rip; needed only where orig_rax is restart_syscall.
        recorded: the code that `for_image` gave.
        stack: up to STACK_BYTES bytes of the thread's memory from rsp on; needed there, too.

    A sleep's request register differs afterwards (it points to the remainder). A wait without a remainder pointer waits in full again: how
    much had passed is known nowhere outside the kernel. A call that cannot be told answers EINTR, as it would have on its own.
    """
    new = dict(regs)
    if not in_call(regs):
        return new
    if recorded in RESTARTING and regs["rax"] == regs["orig_rax"]:
        new["rax"] = -recorded & _MASK
        new["rip"] = (regs["rip"] + len(_SYSCALL)) & _MASK
        return new
    blocked = _code(regs["rax"]) == ERESTART_RESTARTBLOCK
    if _code(regs["rax"]) == EINTR:
        blocked = regs["orig_rax"] in _BLOCKS | {_RESTART_SYSCALL}
        if regs["orig_rax"] in NEVER_RESTARTED:
            new["rax"] = -ERESTARTNOHAND & _MASK
    if not blocked:
        return new
    number = call_number(regs, code, stack)
    if number is None:
        new["rax"] = -EINTR & _MASK
        return new
    new["orig_rax"] = number
    new["rax"] = -ERESTARTNOHAND & _MASK
    if number in REMAINDER:
        request, remainder = REMAINDER[number]
        if regs[remainder]:
            new[request] = regs[remainder]
    return new
