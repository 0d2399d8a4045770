"""Which tracker: by probe and never by version."""

from functools import cache

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import fds_of
from lamina.core.dirty import uffd_wp
from lamina.core.dirty.held import why_let_alone
from lamina.core.dirty.tracker import Capability, Tracker
from lamina.core.dirty.uffd_wp import Claim, UffdTracker, soft_limit
from lamina.core.dirty.untracked import UntrackedTracker


@cache
def probe() -> Capability:
    """The best tracker of this machine, tried once per run of lamina; its `available` is False if nothing can be tracked here."""
    return uffd_wp.probe()


def capability_for(identity: Identity) -> Capability:
    """Whether this very process can be tracked. Touches nothing.

    Raises:
        TargetError: it is gone or may not be read.
    """
    machine = probe()
    if not machine.available:
        return machine
    why, fix = why_let_alone(identity)
    if why:
        return Capability(machine.name, False, f"{why}: {fix}")
    limit = soft_limit(identity.pid)
    if sum(fd < limit for fd in fds_of(identity.pid)) >= limit:
        return Capability(machine.name, False, f"none of its {limit} descriptors is free for what keeps tracking alive")
    return machine


def choose_tracker(identity: Identity, claim: Claim) -> Tracker:
    """The best tracker for this process; an `UntrackedTracker`, whose `reason` says why, if none works.

    claim: see `UffdTracker`.
    """
    able = capability_for(identity)
    if able.available:
        return UffdTracker(identity, claim)
    return UntrackedTracker(identity, able.reason)
