"""What a page of a stack is, found page by page with a file opened for each: what the reader is compared with."""

from lamina.core.dirty.runs import PAGE
from lamina.core.image.layer import Layer
from tests.unit.image.layers import address, read_page


def read_naively(layer: Layer, pid: int, start: int, size: int) -> bytes:
    """Memory of the area that `layers.mm` describes; zeros where no layer has the page."""
    first, last = (start - address(0)) // PAGE, (start + size - 1 - address(0)) // PAGE
    content = b"".join(read_page(layer, pid, page) or bytes(PAGE) for page in range(first, last + 1))
    skip = start - address(first)
    return content[skip : skip + size]
