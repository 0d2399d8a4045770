"""What an image set may hold that no kind here puts back: refused by name, so that nothing is lost in silence.

An image is opened by whoever needs it: a restore that knows nothing of file locks, queued data or security profiles would leave them
out, and nobody would notice. Images of namespaces are not here: `ids.blockers` refuses those.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from lamina.core.errors import Blocker
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry

_CONTENTS: Final = MappingProxyType(
    {
        "filelocks": "locks on files",
        "ghost-file": "a file that was deleted while it was open",
        "remap-fpath": "names of files that were deleted while they were open",
        "fifo-data": "data waiting in a named pipe",
        "sk-queues": "data waiting in sockets",
        "tcp-stream": "data of a TCP connection",
        "tty-data": "characters waiting in a terminal",
        "memfd": "memory files (memfd)",
        "bpfmap-data": "BPF maps",
        "apparmor": "AppArmor policies",
    }
)
"""Kind of image → what is in it. Of a pipe it would be pipes-data, which is put back."""
_HEAD: Final = 8
"""Bytes of an image that holds nothing."""
_RELEASED: Final = "dump when the program has released it"


def blockers(layer: Layer) -> list[Blocker]:
    """What *layer* as a whole holds beyond what is put back.

    Raises:
        ImageError: inventory.img is damaged.
    """
    found = []
    plugins = layer.inventory.plugins_entry.plugins
    if plugins:
        why = f"it was dumped with criu's plugin {', '.join(plugins)}, whose part cannot be put back"
        found.append(Blocker("inventory.img", why, "restore it with criu"))
    for name in layer.names():
        kind = fmt.kind_of_file(name)
        if kind is None or kind.name not in _CONTENTS:
            continue
        info = layer.info(name)
        if info and info.size > _HEAD:
            found.append(Blocker(name, f"{_CONTENTS[kind.name]}: not supported yet", _RELEASED))
    return found


def thread_blockers(core: core_entry) -> list[Blocker]:
    """A security profile (AppArmor, SELinux) other than ours: what is restored would run under ours.

    criu records it of every task where such a module is active, and leaves out AppArmor's "unconfined".
    """
    creds = core.thread_core.creds
    labels = {label for label in (creds.lsm_profile, creds.lsm_sockcreate) if label} - {"unconfined", own_label()}
    return [
        Blocker("security", f"it ran under the profile {label}, which cannot be set", "restore it with criu") for label in sorted(labels)
    ]


def own_label() -> str:
    """The security label of this process, as `creds_entry.lsm_profile` has it; "" without such a module."""
    try:
        text = Path("/proc/self/attr/current").read_text(errors="replace")
    except OSError:
        return ""
    # AppArmor adds the mode, as in "profile (enforce)".
    return text.strip("\0\n ").partition(" (")[0]
