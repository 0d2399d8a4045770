"""Themes: every meaning has a colour in each, all can be read, and no colour is anywhere else."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from textual.app import App
from textual.color import Color
from textual.command import CommandPalette
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import Static

from lamina.tui import theme as themes
from lamina.tui.app.appearance import fitting_theme
from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from lamina.tui.theme import is_shaded
from tests.corpus import unpack
from tests.tui.waiting import until

# Colours that programs in a terminal of ours chose.
THEIRS = ("theme.py", "emulator.py", "terminal_view.py")
TUI = Path(themes.__file__).parent
OWN = {name: found for name, found in themes.THEMES.items() if not found.ansi}
# WCAG: 4.5 for text, 7 for text that must be easy to read, 3 for shapes.
LEAST = {"lamina": 4.5, "lamina-light": 4.5, "lamina-contrast": 7.0}
TEXTS = ("dirty", "new", "shared", "good", "warm", "danger", "changed")


def luminance(colour: Color) -> float:
    parts = [value / 255 for value in (colour.r, colour.g, colour.b)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(Color.parse(one)), luminance(Color.parse(other))))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", OWN)
def test_all_that_is_written_can_be_read(name: str) -> None:
    theme = OWN[name]
    colours, ground, text = themes.meanings(theme), str(theme.background), str(theme.foreground)
    assert contrast(text, ground) >= 7
    assert all(contrast(colours[meaning], ground) >= LEAST[name] for meaning in TEXTS), name
    for behind in (ground, str(theme.surface), str(theme.panel)):
        assert contrast(theme.variables["text-muted"], behind) >= LEAST[name]
    # What is dim is two thirds of the way from the background.
    dim = Color.parse(ground).blend(Color.parse(text), 0.66).hex
    assert contrast(dim, ground) >= LEAST[name]
    for cursor in ("row-cursor", "row-cursor-blurred"):
        assert contrast(text, colours[cursor]) >= LEAST[name]
    assert contrast(colours["hit-text"], colours["hit"]) >= 4.5
    assert contrast(colours["quiet"], ground) >= (4.5 if name == "lamina-contrast" else 2.5)


@pytest.mark.parametrize("name", OWN)
def test_the_newest_pages_stand_out_most_and_each_age_from_the_next(name: str) -> None:
    colours = themes.meanings(OWN[name])
    ages = [contrast(colours[age.removeprefix("$")], str(OWN[name].background)) for age in themes.AGES]
    assert ages[0] >= 3
    assert all(newer / older >= 1.3 for older, newer in pairwise(ages)), ages


def test_every_theme_has_every_meaning_and_the_16_colours_are_the_terminals() -> None:
    wanted = {meaning.removeprefix("$") for meaning in themes.MEANINGS} | {"row-cursor", "row-cursor-blurred", "hit-text"}
    for theme in (*themes.THEMES.values(), *BUILTIN_THEMES.values()):
        assert wanted <= set(themes.meanings(theme)), theme.name
    ansi = themes.THEMES["lamina-16"]
    values = [*themes.meanings(ansi).values(), *ansi.variables.values(), ansi.primary, ansi.foreground, ansi.background]
    assert all(value in ("none", "reverse") or str(value).startswith("ansi_") for value in values)


def test_no_colour_is_named_but_in_the_themes() -> None:
    names = "red|green|blue|yellow|cyan|magenta|orange|white|black|gr[ae]y"
    colour = re.compile(rf"""["'](bold |dim |on )*(#[0-9a-fA-F]{{3,8}}|(bright_|ansi_|dark_)?({names}))\b""")
    for file in TUI.rglob("*.py"):
        if file.name not in THEIRS:
            found = [line for line in file.read_text().splitlines() if colour.search(line)]
            assert not found, f"{file.name}: {found}"
    for sheet in TUI.rglob("*.tcss"):
        values = re.findall(r"(?:color|background|border[a-z-]*):([^;]*);", sheet.read_text())
        assert not [value for value in values if re.search(rf"#[0-9a-fA-F]{{3,8}}|\b({names})\b", value)]


@pytest.mark.parametrize(
    ("environ", "theme"),
    [
        ({"TERM": "xterm-256color"}, "lamina"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "lamina"),
        ({"TERM": "linux"}, "lamina-16"),
        ({"TERM": "xterm"}, "lamina-16"),
        ({"TERM": "screen"}, "lamina-16"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "lamina-16"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "lamina"),
    ],
)
def test_a_terminal_gets_the_theme_that_it_can_show(environ: dict[str, str], theme: str) -> None:
    assert fitting_theme(environ) == theme


def colours_on(app: App[Any]) -> set[str]:
    """Every colour on the screen."""

    strips = app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    return {colour.name for style in styles for colour in (style.color, style.bgcolor) if colour is not None}


def named(theme: Theme) -> set[str]:
    """What a theme paints with, but for colours in between."""
    colours = [*themes.meanings(theme).values(), theme.background, theme.foreground, theme.panel, theme.variables["text-muted"]]
    return {Color.parse(str(colour)).rich_color.name for colour in colours}


async def test_another_theme_repaints_everything(tmp_path: Path) -> None:
    app = LaminaApp(Session(unpack("lamina-0.1/three", tmp_path)))
    async with app.run_test(size=(110, 36)) as pilot:
        await pilot.press("3")
        await until(lambda: app.screen_stack and app.current_mode == "stack" and app.session.stack and app.session.stack.rows)
        kept = Static(Text("danger", style="bold $danger"))
        await app.screen.mount(kept, before=0)
        await until(lambda: Color.parse(themes.meanings(themes.DARK)["age-own"]).rich_color.name in colours_on(app))
        for name in ("lamina-light", "lamina-16", "lamina-contrast", "lamina"):
            app.theme = name
            await until(lambda: danger_of(kept) == Color.parse(str(app.current_theme.error)).rich_color.name)
            seen, own = colours_on(app), named(app.current_theme)
            others = {colour for other in OWN.values() if other.name != name for colour in named(other)} - own
            assert len(seen & own) > 4 and not others & seen, name
            assert is_shaded(app) == (name == "lamina-16") == (not any(colour.startswith("#") for colour in seen))


async def test_the_palette_tries_themes_on() -> None:
    app = LaminaApp(Session())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+p", *"a-light")
        await until(lambda: app.theme == "lamina-light")
        await pilot.press("escape")
        await until(lambda: app.theme == "lamina" and not isinstance(app.screen, CommandPalette))


def danger_of(widget: Static) -> str:
    styles = [segment.style for segment in widget.render_line(0) if segment.text.strip() and segment.style]
    return str(styles[0].color.name) if styles and styles[0].color else ""
