"""The journal of a session that goes on for days."""

from lamina.tui.model import journal
from lamina.tui.model.journal import Journal
from lamina.tui.model.operation import Operation


def operation(number: int) -> Operation:
    return Operation("dump", f"dump {number}", lambda _: None, lambda _: "", pid=number)


def test_only_the_newest_jobs_are_kept_but_none_that_goes_on() -> None:
    kept = Journal()
    waits = kept.wait(operation(1))
    for number in range(2, journal.KEEP + 50):
        kept.end(kept.begin(operation(number)).operation, journal.DONE, "")
    assert waits in kept.jobs and kept.waiting == [waits]
    kept.end(waits.operation, journal.CANCELLED, "")
    newest = kept.begin(operation(journal.KEEP + 50))
    assert len(kept.jobs) == journal.KEEP and kept.newest is newest is kept.running
    assert kept.pids == set(range(1, journal.KEEP + 51))
