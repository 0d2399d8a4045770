"""What actions are called in the `[keys]` of the configuration."""

import re
from collections import Counter
from dataclasses import replace

from textual.binding import Binding, BindingType


def name_actions(context: str, bindings: list[BindingType]) -> None:
    """Give each of *bindings* a name of its context and short description: "target.dump", "map.zoom-in".

    Where a context has two of the same description their key follows: "map.pan-left". The list itself is changed.
    """
    plain = {at: it for at, it in enumerate(bindings) if isinstance(it, Binding)}
    often = Counter(it.description for it in plain.values())
    for at, binding in plain.items():
        name = re.sub(r"\W+", "-", binding.description.lower()).strip("-")
        if often[binding.description] > 1:
            name += "-" + binding.key.split(",")[0].replace("+", "-")
        bindings[at] = replace(binding, id=f"{context}.{name}")
