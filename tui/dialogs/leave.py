"""Before leaving while the engine works."""

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
