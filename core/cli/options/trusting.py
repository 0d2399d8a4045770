"""Options of the verbs that check layers and mend their links."""

from lamina.core.cli.options.common import Verb, Verbs

VERBS: dict[str, Verb] = {}


def declare(verbs: Verbs) -> None:
    """Add them."""
