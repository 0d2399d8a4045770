"""What a layer resolves to, read page by page: what every change of a stack must leave as it was."""

from pathlib import Path

from lamina.core.image.layer import Layer
from tests.unit.image.layers import AREA_PAGES, address, read_page


def memory_of(layer: Layer) -> dict[tuple[object, int], bytes | None]:
    """Every page its maps name, by task and number; None for one that was punched or is missing."""
    found: dict[tuple[object, int], bytes | None] = {}
    for which in layer.objects:
        assert isinstance(which, int)
        known = layer.pagemap(which).all
        for page in range(AREA_PAGES):
            if address(page) in known:
                found[(which, page)] = read_page(layer, which, page)
    return found


def memories(stack: Path) -> dict[str, dict[tuple[object, int], bytes | None]]:
    """`memory_of` each layer of a stack, by name."""
    return {path.name: memory_of(Layer(path)) for path in sorted(stack.iterdir()) if (path / "inventory.img").exists()}


def leftovers(stack: Path) -> list[str]:
    """Names in the stack's directory and in its layers that are neither layers, nor trash, nor images."""
    found = [path.name for path in stack.iterdir() if path.name.startswith(".lamina-rewrite.") or path.is_symlink()]
    return sorted(found + [str(path.relative_to(stack)) for path in stack.glob("*/.lamina-*")])
