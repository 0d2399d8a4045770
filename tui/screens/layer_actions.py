"""What keys do to the layers of a stack. Whatever may lose something begins with a dry run, and asks."""

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui.dialogs.ask_archive import ask_compress, ask_export, ask_import, ask_relink
from lamina.tui.dialogs.ask_dedup import ask_dedup
from lamina.tui.dialogs.ask_label import ask_label, ask_pin
from lamina.tui.dialogs.ask_page_server import ask_receive
from lamina.tui.dialogs.ask_stack_change import ask_drop, ask_empty, ask_prune, ask_squash
from lamina.tui.dialogs.tidy import Tidy
from lamina.tui.model.layers import LayerRow, StackView
from lamina.tui.operations import checks, stack_changes
from lamina.tui.screens.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence


class LayerActions(Frame):
    """A screen with layers, one of which is under the cursor."""

    def layer_row(self) -> LayerRow | None:
        """The layer under the cursor."""
        raise NotImplementedError

    def first_marked(self, among: "Sequence[LayerRow]") -> LayerRow | None:
        """The first marked layer of *among*."""
        raise NotImplementedError

    def follow(self, path: Path | None) -> None:
        """Put the cursor on the layer at *path* as soon as it is in the list."""
        raise NotImplementedError

    def _stack_view(self) -> StackView | None:
        session = self.lamina.session
        stack = session.stack
        if stack is None or stack.path != session.stack_dir:
            self.notify("no stack is open: 1 chooses a process, o opens a stack", severity="warning")
            return None
        return stack

    def _chosen_layer(self) -> LayerRow | None:
        row = self.layer_row()
        if row is None:
            self.notify("no layer here yet: d takes the first one", severity="warning")
        return row

    def _live_layer(self) -> LayerRow | None:
        """The layer under the cursor, if it is not in the trash."""
        row = self._chosen_layer()
        if row is not None and row.trashed:
            self.notify(f"layer {row.name} is in the trash: z brings it back first", severity="warning")
            return None
        return row

    def action_verify(self) -> None:
        """Read this layer, and what it needs, to the last byte."""
        if row := self._chosen_layer():
            self.lamina.do(checks.verify(row, self.lamina.reader.stacks))

    def action_verify_all(self) -> None:
        """Read every layer to the last byte."""
        if stack := self._stack_view():
            self.lamina.do(checks.verify_stack(stack.path, self.lamina.reader.stacks))

    def action_dedup(self) -> None:
        """Plan first: the dialog shows what each way frees and what it costs."""
        if (row := self._live_layer()) and (stack := self._stack_view()):
            ask_dedup(self.lamina, row, stack.path)

    def action_squash(self) -> None:
        """Squash from the marked ancestor, or one that is asked for, to the layer under the cursor."""
        if (row := self._live_layer()) and (stack := self._stack_view()):
            above = stack.ancestors(row)
            ask_squash(self.lamina, row, above, self.first_marked(above))

    def action_drop(self) -> None:
        """To the trash, or out of it for good."""
        if (row := self._chosen_layer()) and (stack := self._stack_view()):
            ask_drop(self.lamina, row, stack)

    def action_undo(self) -> None:
        """Bring back the dropped layer under the cursor, or the one dropped last."""
        if stack := self._stack_view():
            row = self.layer_row()
            entry = row.path.name.removeprefix(".lamina-trash.") if row is not None and row.trashed else ""
            if not stack.trash:
                self.notify("nothing to undo: the trash is empty", severity="warning")
            else:
                self.lamina.do(stack_changes.undo(stack.path, entry, self.follow))

    def action_label(self) -> None:
        """A name for people."""
        if row := self._live_layer():
            ask_label(self.lamina, row)

    def action_pin(self) -> None:
        """Pin the layer, so that nothing removes it, or unpin it."""
        if row := self._live_layer():
            ask_pin(self.lamina, row)

    def action_export(self) -> None:
        """Into one archive."""
        if (row := self._live_layer()) and (stack := self._stack_view()):
            ask_export(self.lamina, row, stack)

    def action_import(self) -> None:
        """Out of an archive."""
        if stack := self._stack_view():
            ask_import(self.lamina, stack)

    def action_receive(self) -> None:
        """Be a page server for the next layer."""
        stack = self._stack_view()
        if stack is not None and self.lamina.current.may_change("a page server"):
            if stack.archive:
                self.notify(f"{stack.path.name} is an archive: import it first", severity="warning")
                return
            ask_receive(self.lamina, stack.path, stack.newest)

    def action_tidy(self) -> None:
        """Prune, or empty the trash."""
        stack = self._stack_view()
        if stack is None:
            return
        place = stack.path

        def answered(answer: tuple[str, str, str] | str | None) -> None:
            if answer == "empty":
                ask_empty(self.lamina, place)
            elif isinstance(answer, tuple):
                ask_prune(self.lamina, place, answer)

        self.app.push_screen(Tidy(stack), answered)

    def action_compress(self) -> None:
        """Compress the pages of the layer, or expand them."""
        if row := self._live_layer():
            ask_compress(self.lamina, row)

    def action_relink(self) -> None:
        """Mend its parent link."""
        if row := self._live_layer():
            ask_relink(self.lamina, row)
