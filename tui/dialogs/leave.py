"""Before leaving while the engine works, or while programs run in terminals that go with us."""

from collections.abc import Sequence

from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model.journal import Job


def leave_dialog(job: Job) -> Confirm:
    """Answers "stay" or "leave"."""
    phase = f" ({job.progress.phase})" if job.progress else ""
    return Confirm(
        "Leave lamina?",
        [
            f"The {job.act.title} is still going on{phase}.",
            "Leaving cancels it first: the target runs on, the stack stays as it was. Tracking stays on.",
        ],
        [Choice("stay", "Stay"), Choice("leave", "Cancel it and leave", danger=True)],
    )


def leave_programs_dialog(programs: Sequence[str], readonly: bool) -> Confirm:
    """Answers "stay", "dump" or "leave"; *programs* are those that would lose their terminal."""
    one = len(programs) == 1
    choices = [
        Choice("stay", "Stay"),
        Choice("dump", "Dump it, then leave" if one else "Dump each, then leave"),
        Choice("leave", "Leave, it ends" if one else "Leave, they end", worst=True),
    ]
    return Confirm(
        "Leave lamina?",
        [
            f"{', '.join(programs)} {'runs' if one else 'run'} in a terminal of lamina's, which goes with it: SIGHUP ends most programs.",
            f"Dumped first, {'it' if one else 'each'} ends as a layer and comes back from there, screen and all.",
        ],
        [choice for choice in choices if choice.key != "dump" or not readonly],
    )
