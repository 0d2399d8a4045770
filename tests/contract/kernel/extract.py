"""Makes linux.txt: the names of all kernel state that a program can have, from the kernel's own headers. Run at development time only.

    apt-get download linux-libc-dev; dpkg -x linux-libc-dev_*.deb DIR; python extract.py DIR > linux.txt

What no header has (files of /proc, VmFlags, lines of fdinfo) stands in unlisted.txt, from Documentation/filesystems/proc.rst and fs/proc.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Section → files, and which names of theirs count.
HEADERS = {
    "prctl": ("linux/prctl.h", r"PR_(?:GET|SET|CAP|CAPBSET|TASK|MCE|MPX|SVE|SME|PAC|SCHED_CORE|RISCV|PPC|LOCK|TIMER|FUTEX|RSEQ)\w*"),
    "arch_prctl": ("x86_64-linux-gnu/asm/prctl.h", r"ARCH_\w+"),
    "regset": ("linux/elf.h", r"NT_(?:PRSTATUS|PRFPREG|386_\w+|X86_\w+)"),
    "SOL_SOCKET": ("asm-generic/socket.h", r"SO_\w+"),
    "IPPROTO_IP": ("linux/in.h", r"(?:IP|MCAST)_\w+"),
    "IPPROTO_IPV6": ("linux/in6.h", r"IPV6_\w+"),
    "IPPROTO_TCP": ("linux/tcp.h", r"TCP_\w+"),
    "epoll": ("linux/eventpoll.h", r"EPOLL(?!_CTL|_PACKED|_IOC)\w+|EPIOC[SG]PARAMS"),
    "timerfd": ("linux/timerfd.h", r"TFD_\w+"),
    "rlimit": ("asm-generic/resource.h", r"RLIMIT_\w+"),
    "securebits": ("linux/securebits.h", r"SECBIT_\w+"),
    "capability": ("linux/capability.h", r"CAP_[A-Z]\w+"),
    "clone": ("linux/sched.h", r"SCHED_(?:NORMAL|FIFO|RR|BATCH|IDLE|DEADLINE|EXT|RESET_ON_FORK|FLAG_\w+)"),
}
ENUMS = {"personality": ("linux/personality.h", r"^\s+(\w+)\s*=\s*0x[0-9a-f]{7}\b"), "attr": ("linux/lsm.h", r"^#define (LSM_ATTR_\w+)\s")}
FIELDS = {"sched_attr": ("linux/sched/types.h", r"struct sched_attr \{(.*?)\n\}")}
# Values of options, sub-options and limits of the headers, not options; and names with no number of their own.
NO_OPTION = re.compile(
    r"PR_(?:SET_MM_\w+|CAP_AMBIENT_\w+|MCE_KILL_(?!GET$)\w+|FP_\w+|TSC_\w+|TIMING_\w+|UNALIGN_\w+|ENDIAN_\w+|SPEC_\w+|SET_PTRACER_ANY"
    r"|SVE_(?:SET_VL_\w+|VL_\w+)|SME_(?:SET_VL_\w+|VL_\w+)|SCHED_CORE_\w+|RISCV_V_(?:VSTATE|LEN)\w*|RISCV_CTX\w*|RISCV_SCOPE\w*|PPC_DEXCR\w+"
    r"|TIMER_CREATE_RESTORE_IDS_\w+|FUTEX_HASH_\w+|RSEQ_SLICE_\w+_\w+|PAC_AP\w+|RISCV_V_VSTATE\w+|SET_VMA_ANON_NAME)"
    r"|ARCH_XCOMP_\w+|ARCH_SHSTK_(?:SHSTK|WRSS)|IP_(?:PMTUDISC|DEFAULT|MAX)_\w+|IPV6_(?:PMTUDISC|TLV|FL|PRIORITY|PREFER)_\w+|IPV6_FLOWINFO_(?:FLOWLABEL|PRIORITY)"
    r"|MCAST_(?:EXCLUDE|INCLUDE)|TCP_(?:NLA_\w+|MSS_\w+|REPAIR_(?:ON|OFF)\w*|MD5SIG_(?:MAX|FLAG)\w+|AO_MAX\w+|AO_KEYF\w+|ACCECN\w*|RECEIVE_\w+|"
    r"ESTABLISHED|SYN_\w+|FIN_\w+|TIME_\w+|CLOSE\w*|LAST_ACK|LISTEN|CLOSING|NEW_\w+|MAX_\w+|CA_\w+|FLAG_\w+|DATA_\w+|RESERVED_\w+|NO_QUEUE|"
    r"RECV_QUEUE|SEND_QUEUE|QUEUES_NR)|CAP_(?:LAST_CAP|TO_INDEX|TO_MASK)|RLIMIT_(?:NLIMITS)|SO_(?:TIMESTAMP|TIMESTAMPNS|TIMESTAMPING|RCVTIMEO"
    r"|SNDTIMEO|GET_FILTER|DETACH_BPF)|LSM_ATTR_UNDEF|SCHED_FLAG_ALL|IP_(?:MSFILTER_SIZE|PROTOCOL_MAX)|PR_GET_\w*_BIT"
)


def names(root: Path, file: str, pattern: str) -> Iterator[str]:
    """Names that *file* defines as a number, in its order."""
    text = (root / "usr/include" / file).read_text()
    for found in re.finditer(rf"^#\s*define\s+({pattern})\s+(?:\(|[0-9_A-Z])", text, re.MULTILINE):
        if not NO_OPTION.fullmatch(found[1]):
            yield found[1]


def main() -> None:
    """Print all sections."""
    root = Path(sys.argv[1])
    for section, (file, pattern) in HEADERS.items():
        print(f"[{section}]", *dict.fromkeys(names(root, file, pattern)), sep="\n", end="\n\n")
    for section, (file, pattern) in ENUMS.items():
        print(f"[{section}]", *re.findall(pattern, (root / "usr/include" / file).read_text(), re.MULTILINE), sep="\n", end="\n\n")
    for section, (file, pattern) in FIELDS.items():
        body = re.search(pattern, (root / "usr/include" / file).read_text(), re.DOTALL)
        print(f"[{section}]", *re.findall(r"\b(\w+);", body[1] if body else ""), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
