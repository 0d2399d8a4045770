"""The table of kinds. A new one is a file in this room and one line here."""

from typing import Final

from lamina.core.kinds.files.chardev import SimpleDevice
from lamina.core.kinds.files.epoll import Epoll
from lamina.core.kinds.files.eventfd import EventFd
from lamina.core.kinds.files.fifo import Fifo
from lamina.core.kinds.files.pipe import Pipe
from lamina.core.kinds.files.regfile import RegularFile
from lamina.core.kinds.files.tty import Terminal
from lamina.core.kinds.memory.mappings import MappingNotes, Mappings
from lamina.core.kinds.memory.mempolicy import MemoryPolicy
from lamina.core.kinds.memory.mlock import FutureLocks
from lamina.core.kinds.memory.mm import Dumpable, Executable, HugePages, MemoryDescriptor
from lamina.core.kinds.memory.pkeys import ProtectionKeys
from lamina.core.kinds.sockets.inet import TcpListener
from lamina.core.kinds.sockets.unix import UnixSocket
from lamina.core.kinds.task.cgroups import ControlGroups
from lamina.core.kinds.task.fs import FileSystemPlace
from lamina.core.kinds.task.ids import Namespaces
from lamina.core.kinds.task.itimers import IntervalTimers
from lamina.core.kinds.task.keyring import KeyringsOfThread, SessionKeyring, UserKeyringLink
from lamina.core.kinds.task.posix_timers import PosixTimers
from lamina.core.kinds.task.proc_files import Autogroup, CoredumpFilter, LoginUid, OomScore
from lamina.core.kinds.task.rlimits import ResourceLimits
from lamina.core.kinds.task.signals import SharedQueue, SignalActions
from lamina.core.kinds.task.state import ChildSubreaper, Membarrier, Personality, State
from lamina.core.kinds.task.timens import Clocks
from lamina.core.kinds.thread.affinity import Affinity
from lamina.core.kinds.thread.comm import Name
from lamina.core.kinds.thread.creds import Credentials
from lamina.core.kinds.thread.landlock import Landlock
from lamina.core.kinds.thread.refused import RefusedSettings
from lamina.core.kinds.thread.registers import ThreadRegisters
from lamina.core.kinds.thread.registrations import AlternateStack, RestartableSequences, RobustList, TidAddress
from lamina.core.kinds.thread.sched import Scheduling, Slice, UtilMax, UtilMin
from lamina.core.kinds.thread.security import ProfileOfTask, Seccomp, SecurityProfile, ShadowStack
from lamina.core.kinds.thread.settings import INDIRECT_BRANCH, L1D_FLUSH, STORE_BYPASS, IoPriority, MachineChecks, TimerSlack
from lamina.core.kinds.thread.signals import ParentDeathSignal, PrivateQueue, SignalMask
from lamina.core.kinds.unsupported import unsupported
from lamina.core.objects.kind import KindTable
from lamina.core.objects.task_kind import AttributeTable

DESCRIPTORS: Final = KindTable(
    (
        Pipe(),
        Fifo(),
        UnixSocket(),
        TcpListener(),
        Epoll(),
        EventFd(),
        Terminal(),
        SimpleDevice(),
        RegularFile(),
    ),
    unsupported,
)
"""Kinds of open file descriptions; the first that recognises one has it."""

ATTRIBUTES: Final = AttributeTable(
    tasks=(
        State(),
        Namespaces(),
        Personality(),
        SessionKeyring(),
        FileSystemPlace(),
        Executable(),
        ProfileOfTask(),
        Mappings(),
        MappingNotes(),
        MemoryDescriptor(),
        HugePages(),
        ProtectionKeys(),
        LoginUid(),
        ChildSubreaper(),
        Membarrier(),
        SignalActions(),
        FutureLocks(),
        SharedQueue(),  # before timers, which would add to it
        PosixTimers(),
        IntervalTimers(),
        ResourceLimits(),  # last of its stage: a limit could stop what comes before it
        Dumpable(),
        UserKeyringLink(),
        OomScore(),
        CoredumpFilter(),
        Autogroup(),
        Clocks(),
    ),
    threads=(
        ThreadRegisters(),
        TidAddress(),
        RobustList(),
        AlternateStack(),
        RestartableSequences(),
        Name(),
        Scheduling(),
        PrivateQueue(),
        SignalMask(),
        Affinity(),
        IoPriority(),
        TimerSlack(),
        MachineChecks(),
        MemoryPolicy(),
        Slice(),
        UtilMin(),
        UtilMax(),
        STORE_BYPASS,
        INDIRECT_BRANCH,
        L1D_FLUSH,
        RefusedSettings(),
        KeyringsOfThread(),
        Landlock(),
        Seccomp(),
        ShadowStack(),
        SecurityProfile(),
        Credentials(),
        ParentDeathSignal(),  # a change of credentials clears it
        ControlGroups(),
    ),
)
"""Kinds of what a task and a thread have beside descriptors. Within a stage of a restore (`Stage`) they come in this order."""
