"""How findings are gathered: a check yields them and may stop with an error, which is the last one."""

from collections.abc import Callable, Iterator

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.findings import Finding, Severity
from lamina.core.image.layer import Layer


def collect(layer: Layer, file: str, check: Callable[[], Iterator[Finding]], severity: Severity = Severity.STOPS) -> list[Finding]:
    """What *check* yields; an `ImageError` ends it and becomes a finding about *file* of that *severity*, unless it names another."""
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)
    except ImageError as error:
        found.append(Finding.from_error(layer, file, error, severity))
    return found


def readable(read: Callable[[], object]) -> bool:
    """Whether *read* comes to its end; why not is said elsewhere."""
    try:
        read()
    except ImageError:
        return False
    return True


def pages(count: int) -> str:
    """ "1 page", "812 pages"."""
    return f"{count} page{'' if count == 1 else 's'}"


def first(runs: PageRuns) -> str:
    """Where *runs* begin, for a message."""
    return f"the first at {int(runs.starts[0]):#x}"
