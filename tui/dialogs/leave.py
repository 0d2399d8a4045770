"""Questions before leaving while the engine works or programs run in our terminals, and before taking a terminal from another lamina."""

from collections.abc import Sequence

from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model.journal import Job


def leave_dialog(job: Job) -> Confirm:
    """Answers "stay" or "leave"."""
    phase = f" ({job.progress.phase})" if job.progress else ""
    return Confirm(
        "Leave lamina?",
        [
            f"The {job.operation.title} is still going on{phase}.",
            "Leaving cancels it first: the target runs on, the stack stays as it was. Tracking stays on.",
        ],
        [Choice("stay", "Stay"), Choice("leave", "Cancel it and leave", danger=True)],
    )


def leave_programs_dialog(programs: Sequence[str], readonly: bool) -> Confirm:
    """Answers "stay", "leave", "dump" or "end"; *programs* are those that run in our terminals."""
    one = len(programs) == 1
    choices = [
        Choice("stay", "Stay"),
        Choice("leave", "Leave it running" if one else "Leave them running"),
        Choice("dump", "Dump it, then leave" if one else "Dump each, then leave"),
        Choice("end", "End it" if one else "End them", worst=True),
    ]
    return Confirm(
        "Leave lamina?",
        [
            f"{', '.join(programs)} {'runs' if one else 'run'} in a terminal of lamina's.",
            f"Left running, {'it goes' if one else 'they go'} on without lamina; the next lamina shows {'it' if one else 'them'}, "
            "and so does lamina attach.",
            f"Dumped first, {'it' if one else 'each'} can be put back from its layer later, with its screen. "
            f"Ending {'it' if one else 'them'} closes the terminal, which sends SIGHUP.",
        ],
        [choice for choice in choices if choice.key != "dump" or not readonly],
    )


def take_over_dialog(program: str, lamina: int) -> Confirm:
    """Answers "leave" or "take"; *program* is in a terminal that another *lamina* shows."""
    return Confirm(
        "Take it over?",
        [f"{program} is in a terminal that lamina {lamina} shows.", "Taken over, it is shown here and no longer there."],
        [Choice("leave", "Leave it there"), Choice("take", "Take it over")],
    )
