"""NUMA policies: of a thread (set_mempolicy(2)) and of a mapping (mbind(2)). Which node a page already lies on is not kept.

In the supplement a policy is written as the kernel's tmpfs option has it: "bind:0-1", "interleave=static:0,2", "local".
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from lamina.core.attach.calls import Call, CallList, DataRef, Inside
from lamina.core.attach.procfs import Area
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Setting, list_of, mask_of
from lamina.core.objects.task_kind import Answer, Asking

_MODES: Final = ("", "prefer", "bind", "interleave", "local", "prefer-many", "weighted-interleave")
"""Index = MPOL_ number (linux/mempolicy.h); 0 is the default."""
_STATIC, _RELATIVE, _BALANCING = 1 << 15, 1 << 14, 1 << 13
_FLAGS: Final = {"=static": _STATIC, "=relative": _RELATIVE}
_ADDR: Final = 2  # MPOL_F_ADDR
_BITS: Final = 1024
"""Nodes asked for; x86-64 has at most that many (CONFIG_NODES_SHIFT 10)."""
_AT_ONCE: Final = 400
_SPECIAL: Final = frozenset({"[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"})


def text_of(mode: int, nodes: int) -> str:
    """As in the supplement; "" for the default."""
    number = mode & ~(_STATIC | _RELATIVE | _BALANCING)
    if not number or number >= len(_MODES):
        return ""
    flags = "".join(text for text, bit in _FLAGS.items() if mode & bit)
    tail = f":{list_of(nodes)}" if nodes else ""
    return f"{_MODES[number]}{flags}{tail}{'+balancing' if mode & _BALANCING else ''}"


def parse(text: str) -> tuple[int, int]:
    """The opposite: (mode with flags, nodes as a mask)."""
    head, _, nodes = text.removesuffix("+balancing").partition(":")
    name, equals, flag = head.partition("=")
    mode = _MODES.index(name) | _FLAGS.get(equals + flag, 0) | (_BALANCING if text.endswith("+balancing") else 0)
    return mode, mask_of(nodes)


def _mask(nodes: int, calls: CallList) -> tuple[DataRef, int]:
    # The kernel looks at one bit less than it is told of.
    raw = nodes.to_bytes((nodes.bit_length() + 63) // 64 * 8 or 8, "little")
    return calls.data(raw), 8 * len(raw) + 1


class MemoryPolicy(Setting):
    """Of a thread; "" for the default."""

    name = "mempolicy"
    what = "NUMA policy"
    default = ""

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """get_mempolicy of the calling thread."""
        mode, nodes = calls.room(8), calls.room(_BITS // 8)
        call = calls.add("get_mempolicy", mode, nodes, _BITS + 1, 0, 0, any_result=True)

        def answer() -> Value | None:
            if call.result < 0:
                return None
            (number,) = struct.unpack("<i", calls.output(mode, 4))
            return text_of(number, int.from_bytes(calls.output(nodes, _BITS // 8), "little"))

        return answer

    def set(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Nodes that this machine has not are left out by the kernel; if it has none of them, that is an error."""
        mode, nodes = parse(str(value)) if value else (0, 0)
        if not nodes:
            return calls.add("set_mempolicy", mode, 0, 0, any_result=True)
        where, bits = _mask(nodes, calls)
        return calls.add("set_mempolicy", mode, where, bits, any_result=True)


class AreaPolicies:
    """Asks which mappings have a policy of their own: about 0.2 µs for each inside the target.

    /proc/PID/numa_maps would not do: for a mapping without a policy it shows that of the first thread, and it walks all pages.
    """

    def __init__(self, areas: Sequence[Area]) -> None:
        """*areas*: to be asked about. Best made before the freeze."""
        self.areas = tuple(areas)
        self._asked = [area for area in areas if area.path not in _SPECIAL]
        self._lists: list[tuple[CallList, DataRef, list[Call]]] = []
        for at in range(0, len(self._asked), _AT_ONCE):
            calls = CallList()
            some = self._asked[at : at + _AT_ONCE]
            modes = calls.room(4 * len(some))
            results = [calls.add("get_mempolicy", modes + 4 * n, 0, 0, area.start, _ADDR, any_result=True) for n, area in enumerate(some)]
            calls.encode()
            self._lists.append((calls, modes, results))

    def read(self, inside: Inside) -> dict[int, str]:
        """Inside the freeze: address → policy of each mapping that has one."""
        found = {}
        at = 0
        for calls, modes, results in self._lists:
            inside.run(calls)
            numbers = np.frombuffer(calls.output(modes, 4 * len(results)), np.int32)
            for n in np.flatnonzero(numbers).tolist():
                if results[n].result >= 0:
                    found[self._asked[at + n].start] = _of_area(inside, self._asked[at + n].start)
            at += len(results)
        return {start: text for start, text in found.items() if text}


def _of_area(inside: Inside, start: int) -> str:
    calls = CallList()
    mode, nodes = calls.room(8), calls.room(_BITS // 8)
    calls.add("get_mempolicy", mode, nodes, _BITS + 1, start, _ADDR, any_result=True)
    inside.run(calls)
    (number,) = struct.unpack("<i", calls.output(mode, 4))
    return text_of(number, int.from_bytes(calls.output(nodes, _BITS // 8), "little"))


def rebuild_area(start: int, size: int, text: str, calls: CallList) -> Call:
    """Step 7, after the mapping is made and before pages come, which it places."""
    mode, nodes = parse(text)
    if not nodes:
        return calls.add("mbind", start, size, mode, 0, 0, 0, any_result=True)
    where, bits = _mask(nodes, calls)
    return calls.add("mbind", start, size, mode, where, bits, 0, any_result=True)
