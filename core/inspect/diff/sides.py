"""What is compared: a side has tasks, and each of them descriptors, areas and pages. A layer is one, a running tree is another."""

from abc import ABC, abstractmethod

from lamina.core.image.layer import Object
from lamina.core.inspect.areas import MemoryArea
from lamina.core.inspect.diff.descriptors import Descriptor
from lamina.core.inspect.diff.pages import SidePages
from lamina.core.inspect.diff.tasks import Task


class Side(ABC):
    """One of the two.

    Attributes:
        name: for people: the layer's path, "process 4711 (redis-server)".
        tasks: parents before children.
        notes: what is to be known about what it can tell, in sentences.
    """

    name: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def descriptors(self, pid: int) -> tuple[Descriptor, ...] | None:
        """The table of a task, ascending; None if the side knows none (a pre-dump, a zombie)."""

    @abstractmethod
    def areas(self, pid: int) -> tuple[MemoryArea, ...] | None:
        """The mappings of a task, ascending; None if the side knows none (a pre-dump, a zombie)."""

    @abstractmethod
    def pages_of(self, which: Object) -> SidePages | None:
        """Its pages of a task (by pid) or of a shared object ("shmem-ID"); None if it has no memory of it."""

    @property
    def shared(self) -> tuple[str, ...]:
        """The shared objects that it has pages of: "shmem-ID"."""
        return ()
