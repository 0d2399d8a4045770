"""What a layer's images say about the mappings of a task: the list, the files behind them, and the objects of shared memory."""

import os
from typing import Final

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image.format import VmaStatus
from lamina.core.image.layer import Layer
from lamina.core.image.schema import reg_file_entry, vma_entry
from lamina.core.objects.named_file import changed, path_of

PAGE: Final = 4096
_FILE: Final = VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED
_VSYSCALL_START: Final = 0xFFFF_FFFF_FF60_0000
_USER_END: Final = 1 << 56


def entries_of(layer: Layer, pid: int) -> tuple[vma_entry, ...]:
    """The mappings of a task, ascending; guard pages, which lie inside others, are left out, and the main stack is marked as one.

    Raises:
        ImageError: missing, or not aligned, empty, overlapping or out of user space.
    """
    entries = [entry for entry in layer.mm(pid).vmas if not VmaStatus(entry.status) & VmaStatus.GUARD]
    last = 0
    for entry in entries:
        bad = entry.start % PAGE or entry.end % PAGE or entry.pgoff % PAGE or not last <= entry.start < entry.end
        if bad or (entry.end > _USER_END and entry.start != _VSYSCALL_START) or entry.pgoff > _USER_END:
            why = f"area {entry.start:x}-{entry.end:x} is not page aligned, empty, out of order or outside user space"
            raise ImageError("damaged image", str(layer.file(f"mm-{pid}.img")), why)
        last = entry.end
    return tuple(_marked(entry, layer.mm(pid).mm_start_stack) for entry in entries)


def _marked(entry: vma_entry, start_stack: int) -> vma_entry:
    """CRIU marks heaps but not stacks."""
    if not entry.start <= start_stack < entry.end or not VmaStatus(entry.status) & VmaStatus.ANON_PRIVATE:
        return entry
    marked = vma_entry()
    marked.CopyFrom(entry)
    marked.status |= VmaStatus.STACK
    return marked


def object_of(layer: Layer, entry: vma_entry) -> str:
    """The shared object ("shmem-ID") behind a mapping: of a memfd it is named by its inode's record, else by the mapping itself."""
    if VmaStatus(entry.status) & VmaStatus.MEMFD and layer.has("memfd.img"):
        file = layer.files.get(entry.shmid)
        if file is not None and file.HasField("memfd"):
            for inode in fmt.decode_image(layer.read("memfd.img"), "memfd"):
                if getattr(inode, "inode_id", None) == file.memfd.inode_id:
                    return f"shmem-{getattr(inode, 'shmid', 0)}"
    return f"shmem-{entry.shmid}"


class ImageFiles:
    """The files that the mappings of one task name, and whether they are still what they were."""

    def __init__(self, layer: Layer, pid: int) -> None:
        self._layer, self._pid = layer, pid
        self._why: dict[int, str] = {}

    def _reg(self, entry: vma_entry) -> reg_file_entry | None:
        if not VmaStatus(entry.status) & _FILE:
            return None
        found = self._layer.files.get(entry.shmid)
        return found.reg if found is not None and found.HasField("reg") else None

    def path(self, entry: vma_entry) -> str:
        """The absolute path of the mapped file; "" for other memory, and for a file that files.img does not name."""
        reg = self._reg(entry)
        try:
            return path_of(reg) if reg is not None else ""
        except ImageError:
            return ""

    def why_not(self, entry: vma_entry) -> str:
        """Why the file is not to be read in place of pages that no image holds; "" if it is the file it was."""
        known = self._why.get(entry.shmid)
        if known is None:
            known = self._why[entry.shmid] = self._look(entry)
        return known

    def _look(self, entry: vma_entry) -> str:
        reg, path = self._reg(entry), self.path(entry)
        if reg is None or not path:
            return "it is a page of a file that files.img does not name"
        if self._other_root():
            return f"it is a page of {path} in a file system of its own (a container's)"
        try:
            blocker = changed(reg)
        except OSError as error:
            return f"it is a page of {path}, which cannot be looked at: {os.strerror(error.errno or 0)}"
        return f"it is a page of {path}, which {blocker.why}" if blocker else ""

    def _other_root(self) -> bool:
        """Whether the paths are those of another mount namespace or root than ours (podman, runc)."""
        try:
            own, outer = self._layer.ids(self._pid), self._layer.inventory.root_ids
            if own.HasField("mnt_ns_id") and outer.HasField("mnt_ns_id") and own.mnt_ns_id != outer.mnt_ns_id:
                return True
            root = self._layer.files.get(self._layer.fs(self._pid).root_id)
            return root is not None and root.HasField("reg") and path_of(root.reg) != "/"
        except ImageError:
            return False  # no such image: nothing speaks against it
