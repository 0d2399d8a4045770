"""Options of the verbs that change a stack."""

from lamina.core.cli.options.common import Verb, Verbs, add, dry_run, images

VERBS: dict[str, Verb] = {
    "dedup": ("stacks", "dedup"),
}


def declare(verbs: Verbs) -> None:
    """Add them."""
    parser = add(verbs, "dedup", "take out of the ancestors the pages a layer holds itself")
    images(parser)
    dry_run(parser)
