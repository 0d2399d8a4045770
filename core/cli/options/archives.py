"""Options of the verbs that put layers into archives, and compress them."""

from lamina.core.cli.options.common import Verb, Verbs

VERBS: dict[str, Verb] = {}


def declare(verbs: Verbs) -> None:
    """Add them."""
