"""The part of the app that finds its way: the palette, the `:` line, help, and actions of other screens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import work
from textual.await_complete import AwaitComplete
from textual.command import Provider
from textual.screen import ModalScreen, Screen
from textual.widget import AwaitMount
from textual.widgets import Input

from lamina.tui import messages
from lamina.tui.app.leaving import LeavingApp
from lamina.tui.keys.actions import Action
from lamina.tui.model.guide import FIRST_START, Guide, Step
from lamina.tui.model.journal import Job
from lamina.tui.model.session import Session
from lamina.tui.model.typed import keep_line, read_lines
from lamina.tui.screens.frame import Frame
from lamina.tui.textual_private import ClosablePalette

if TYPE_CHECKING:
    from lamina.tui.app.lamina import LaminaApp

_NEXT_SCREEN_S = 0.005


def _palette() -> type[Provider]:
    from lamina.tui.keys.palette import LaminaPalette

    return LaminaPalette


class MovingApp(LeavingApp):
    """An app one moves about in by keys and by names."""

    COMMANDS: ClassVar = {_palette}
    GUIDE: ClassVar[tuple[str, Sequence[Step]]] = ("first-start", FIRST_START)

    @cached_property
    def guide(self) -> Guide:
        """What leads through the first minute."""
        return Guide(*self.GUIDE)

    @cached_property
    def lines_typed(self) -> list[str]:
        """What was typed after `:`, oldest first."""
        return []

    async def on_mount(self) -> None:
        """The guide follows what is done. What was typed after `:` before is remembered."""
        self.jobs_changed.subscribe(self, self._guide_on)
        self.bridge.ask("lines typed before", lambda: messages.LinesRemembered(tuple(read_lines())))

    def on_lines_remembered(self, message: messages.LinesRemembered) -> None:
        """Older than any that were typed since."""
        self.lines_typed[:0] = message.lines

    def remember_line(self, line: str) -> None:
        """*line* was typed after `:`."""
        if line not in self.lines_typed[-1:]:
            self.lines_typed.append(line)
            self.bridge.ask(f"line typed {len(self.lines_typed)}", lambda: keep_line(line))

    def set_session(self, session: Session) -> None:
        """The guide follows what is seen."""
        super().set_session(session)
        self._guide_on()

    def _guide_on(self, _job: Job | None = None) -> None:
        if self.guide.look(self.session, self.journal):
            self.bridge.ask("guide", self.guide.remember)
        for screen in self.screen_stack:
            if isinstance(screen, Frame):
                screen.guide_line.show(self.guide)

    def add_mode(self, mode: str, base_screen: str | Callable[[], Screen[Any]]) -> None:
        """Remember what makes the screen: the palette asks the other screens for their actions."""
        self._makers = {**getattr(self, "_makers", {}), mode: base_screen}
        super().add_mode(mode, base_screen)

    def frames(self) -> Iterable[tuple[str, Frame]]:
        """All screens with their names; those that nobody has seen yet are made, but not opened."""
        for mode, make in self._makers.items():
            if callable(make):
                yield mode, cast(Frame, make())

    def show_waiting(self, text: str) -> None:
        """In the last line."""
        for screen in self.screen_stack[:1]:
            if isinstance(screen, Frame):
                screen.key_bar.say(text)

    def delay_update(self, delay: float = 0.05) -> None:
        """Textual waits that long before it paints another screen, for parts that come late. Ours are there."""
        super().delay_update(min(delay, _NEXT_SCREEN_S))

    def switch_mode(self, mode: str) -> AwaitMount:
        """Go to a screen. What is asked on this one, as keys typed ahead may have it, is taken back: it would wait there unseen."""
        if mode != self.current_mode and isinstance(self.screen, ModalScreen):
            self.screen.dismiss()
        return super().switch_mode(mode)

    def show(self, mode: str) -> AwaitMount | AwaitComplete:
        """Go to a screen. To be awaited, if at all, in a task of its own: the screens need the app's loop of messages meanwhile."""
        return self.switch_mode(mode)

    def action_show(self, mode: str) -> None:
        """Go to a screen."""
        self.show(mode)

    @work(group="action")
    async def perform(self, action: Action) -> None:
        """Do what a key does, on the screen where it does."""
        if action.mode:
            await self.show(action.mode)
            # A screen that was just opened is about to choose its focus.
            self.call_after_refresh(self.run_action, action.call, self.screen)
        else:
            await self.run_action(action.call, action.node or self.screen)

    @work(group="action")
    async def jump(self, line: str, actions: Mapping[str, Action], unclear: Callable[[str], None]) -> None:
        """Do what a line after `:` says, one of *actions* if it names one; if it cannot be meant, *unclear* gets the words for it."""
        from lamina.tui.keys.jumps import Unclear, go

        try:
            await go(cast("LaminaApp", self), line, actions)
        except Unclear as why:
            unclear(str(why))

    def go_to_address(self, address: int) -> bool:
        """Put the cursor of the memory that is shown on *address*; False if it is not there."""
        from lamina.tui.widgets.hex_view import HexView
        from lamina.tui.widgets.memory_map import MemoryMap

        for shown in (*self.screen.query(MemoryMap), *self.screen.query(HexView)):
            if shown.display and shown.go_to(address):
                shown.focus()
                return True
        return False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where something is typed, a colon is a letter."""
        if action == "jump_line" and not parameters:
            return isinstance(self.screen, Frame) and not isinstance(self.focused, Input)
        return super().check_action(action, parameters)

    async def run_bindings(self, key: str, priority: bool = False) -> bool:
        """A key that is bound only on another screen says so."""
        done = await super().run_bindings(key, priority)
        if not done and not priority and isinstance(self.screen, Frame) and self.current_mode != "terminal":
            from lamina.tui.keys.actions import action_elsewhere

            action = action_elsewhere(cast("LaminaApp", self), key)
            if action is not None:
                self.type_ahead.asks_for(action.call)
                self._toast(
                    f"{action.keys} {action.name.rstrip('…')} is a key of the {action.context} screen; ^p does it from anywhere", timeout=3
                )
        return done

    def action_jump_line(self, begun: str = "") -> None:
        """Type where to go; *begun* stands there already."""
        if isinstance(self.screen, Frame):
            self.screen.jump_line.open(begun)

    def action_command_palette(self) -> None:
        """Every action there is."""
        if isinstance(self.screen, Frame):
            self.push_screen(ClosablePalette(placeholder="an action, a screen, a layer, a theme …", id="--command-palette"))

    def action_help(self) -> None:
        """Every key: those of the focused pane first."""
        from lamina.tui.screens.help_screen import HelpScreen

        if isinstance(self.screen, Frame):
            self.push_screen(HelpScreen(cast("LaminaApp", self)), self._chosen)

    def _chosen(self, action: Action | None) -> None:
        if action is not None:
            self.perform(action)
