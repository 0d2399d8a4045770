"""A stack with real contents, for measuring what is done with stacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lamina.core.dirty.runs import PAGE
from lamina.core.image.layer import Layer
from lamina.core.image.sums import sum_file
from tests.made_stack import PID, make_map, write_layer

__all__ = ["PID", "make_data_stack"]


def make_data_stack(directory: Path, mib: int, layers: int, changed: float, same: float) -> list[Layer]:
    """Layers 0, 1, … of one task of *mib* MiB of noise: a full one, then each with a share *changed* of its pages, scattered, of which a
    share *same* was written with what it held before.
    """
    rng = np.random.default_rng(7)
    pages = (mib << 20) // PAGE
    memory = np.frombuffer(rng.bytes(mib << 20), dtype=np.uint64).reshape(pages, -1).copy()
    made: list[Layer] = []
    for at in range(layers):
        pagemap = make_map(rng, pages, 1 if at == 0 else int(2 * pages * changed))
        write_layer(directory / str(at), pagemap, None if at == 0 else str(at - 1))
        own = ((pagemap.present.addresses() - pagemap.all.starts[0]) // PAGE).astype(np.int64)
        if at:
            new = own[rng.random(own.size) >= same]
            memory[new] = np.frombuffer(rng.bytes(new.size * PAGE), dtype=np.uint64).reshape(new.size, -1)
        with (directory / str(at) / "pages-1.img").open("r+b") as file:
            file.write(memory[own].tobytes())
            file.flush()
            layer = Layer(directory / str(at))
            sidecar = layer.sidecar
            assert sidecar is not None
            replace(sidecar, checksums={**sidecar.checksums, "pages-1.img": sum_file(file.fileno())}).store(layer.directory)
        made.append(Layer(layer.directory))
    return made
