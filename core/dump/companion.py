"""Asks the companion of a dump, whose failing is a notice and never a reason to have no layer."""

from collections.abc import Callable

from lamina.core.dump.meter import Meter
from lamina.core.dump.request import Companion
from lamina.core.image.draft import LayerDraft


class Beside:
    """What stands beside the target of one dump, if anything does. Once it has failed it is not asked again."""

    def __init__(self, companion: Companion | None, meter: Meter) -> None:
        self._companion = companion
        self._meter = meter

    def frozen(self) -> None:
        """The target stands still."""
        self._ask(lambda companion: companion.frozen())

    def put(self, draft: LayerDraft) -> None:
        """Write what it keeps into *draft*."""

        def put_files(companion: Companion) -> None:
            for name, data in companion.files().items():
                draft.put_bytes(name, data)

        self._ask(put_files)

    def _ask(self, question: Callable[[Companion], None]) -> None:
        if self._companion is None:
            return
        try:
            question(self._companion)
        except Exception as error:
            self._companion = None  # what it would keep is not as of the freeze, and it might wait for it
            self._meter.notice(f"not kept with the layer: {error}")
