"""Where the bits of a `vma_entry` come from: mmap(2) flags, madvise(2) advice, names in maps, VmFlags of proc_pid_smaps(5)."""

from types import MappingProxyType
from typing import Final

from lamina.core.image.format import VmaStatus

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_DROPPABLE = 0x1, 0x2, 0x8
MAP_FIXED, MAP_ANONYMOUS, MAP_GROWSDOWN = 0x10, 0x20, 0x100
MAP_LOCKED, MAP_NORESERVE, MAP_STACK, MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x2000, 0x4000, 0x20000, 0x40000, 0x100000
MADV_GUARD_INSTALL: Final = 102
UNSUPPORTED: Final = VmaStatus(1 << 31)
"""Never in an image: what must be refused."""
PLUGIN: Final = VmaStatus(1 << 27)

SPECIAL: Final = VmaStatus.VSYSCALL | VmaStatus.VDSO | VmaStatus.VVAR
"""Made by the kernel at exec, never by mmap."""

KERNEL_NAMES: Final = MappingProxyType(
    {
        "[vdso]": VmaStatus.REGULAR | VmaStatus.VDSO | VmaStatus.ANON_PRIVATE,
        "[vvar]": VmaStatus.REGULAR | VmaStatus.VVAR | VmaStatus.ANON_PRIVATE,
        "[vvar_vclock]": VmaStatus.REGULAR | VmaStatus.VVAR | VmaStatus.ANON_PRIVATE,
        "[vsyscall]": VmaStatus.VSYSCALL | VmaStatus.ANON_PRIVATE,
    }
)
"""Name in maps → status of the mappings that the kernel makes."""

MAP_OF_VMFLAG: Final = MappingProxyType({"gd": MAP_GROWSDOWN, "lo": MAP_LOCKED, "nr": MAP_NORESERVE})
"""VmFlags letter pair → mmap flag that brings it back."""

MADV_OF_VMFLAG: Final = MappingProxyType({"rr": 1, "sr": 2, "dc": 10, "mg": 12, "hg": 14, "nh": 15, "dd": 16, "wf": 18})
"""VmFlags letter pair → number of the madvise(2) advice that sets it."""

ALLOWED_ADVICE: Final = frozenset(MADV_OF_VMFLAG.values())

REFUSED_VMFLAGS: Final = MappingProxyType(
    {
        "ht": "huge pages of hugetlbfs",
        "ss": "a shadow stack",
        "io": "memory of a device",
        "pf": "memory of a device",
        "sl": "a sealed mapping (mseal)",
    }
)
"""VmFlags letter pair → what cannot be dumped."""
