"""execute_only DIR: code in memory that may only be executed; a processor with protection keys then keeps the program from reading it.

state: what its functions return, and whether it can be read; "set N": they return N and N + 1 from now on.
"""

import ctypes
import os
import sys
import time

from control import Control

PAGE = os.sysconf("SC_PAGE_SIZE")
READ, WRITE, EXEC = 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
code = libc.mmap(None, 2 * PAGE, READ | WRITE, 0x22, -1, 0)
functions = [ctypes.CFUNCTYPE(ctypes.c_int)(code + at * PAGE) for at in range(2)]


def protect(how: int) -> None:
    if libc.mprotect(code, 2 * PAGE, how):
        raise OSError(ctypes.get_errno(), "mprotect")


def write(number: int) -> None:
    protect(READ | WRITE)
    for at in range(2):
        ctypes.memmove(code + at * PAGE, b"\xb8" + (number + at).to_bytes(4, "little") + b"\xc3", 6)  # mov $number, %eax; ret
    protect(EXEC)


def can_read() -> bool:
    child = os.fork()
    if child == 0:
        ctypes.string_at(code, 6)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


control = Control(sys.argv[1])
write(42)
while True:
    if (question := control.question()) is not None:
        if question.startswith("set"):
            write(int(question.split()[1]))
        control.reply({"returned": [function() for function in functions], "can read": can_read()})
    time.sleep(0.005)
