"""Which program a task of a layer runs, for a debugger. Called in worker threads."""

from pathlib import Path

from lamina.tui.paths import is_file


def executable(layer: Path, pid: int) -> str:
    """The file that task *pid* of *layer* runs; "" if it no longer exists, or the layer does not say.

    Raises:
        ImageError: an image of the layer is missing or damaged.
    """
    from lamina.core.image.layer import Layer
    from lamina.core.objects.named_file import path_of

    found = Layer(layer)
    entry = found.files.get(found.mm(pid).exe_file_id)
    path = path_of(entry.reg) if entry is not None and entry.HasField("reg") else ""
    # A name that begins with "-" would be an option of the debugger.
    return path if path.startswith("/") and is_file(Path(path)) else ""
