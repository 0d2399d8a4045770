"""Control groups. A set of criu names those it ran in itself (`root_cg_set`) and, of tasks in others, what to make (cgroup.img).

Restored programs stay in the groups of who restores them: where a layer says that they had others, that is said.
"""

from lamina.core.image.layer import Layer
from lamina.core.image.schema import core_entry


def notices(layer: Layer) -> tuple[str, ...]:
    """A sentence for programs that ran in other control groups than the tool that dumped them; nothing for all others.

    Raises:
        ImageError: an image of a core is missing or damaged.
    """
    own = layer.inventory.root_cg_set
    if not own:
        return ()
    elsewhere = [pid for pid in layer.pids if (found := _set_of(layer.core(pid))) and found != own]
    if not elsewhere:
        return ()
    whose = ", ".join(str(pid) for pid in elsewhere)
    return (f"cgroup.img: the control groups of {whose} are not made again; they stay in those of lamina",)


def _set_of(core: core_entry) -> int:
    return core.thread_core.cg_set or core.tc.cg_set
