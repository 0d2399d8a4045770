"""Which tracker: by probe and never by version."""

from functools import cache

from lamina.core.attach.identity import Identity
from lamina.core.attach.procfs import describe
from lamina.core.dirty import uffd_wp
from lamina.core.dirty.held import Whose, held_uffds
from lamina.core.dirty.tracker import Capability, Tracker
from lamina.core.dirty.uffd_wp import Claim, UffdTracker
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
    for held in held_uffds(identity):
        if held.whose is Whose.FOREIGN:
            return Capability(machine.name, False, f"{describe(identity.pid)} uses a userfaultfd itself (fd {held.fd})")
    return machine


def choose_tracker(identity: Identity, claim: Claim) -> Tracker:
    """The best tracker for this process; an `UntrackedTracker`, whose `reason` says why, if none works.

    claim: see `UffdTracker`.
    """
    able = capability_for(identity)
    if able.available:
        return UffdTracker(identity, claim)
    return UntrackedTracker(identity, able.reason)
