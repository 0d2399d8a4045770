"""lamina's themes. Only this file has colours; everything else uses their meanings: `$dirty` in style sheets and as a style in texts.

Frames and surfaces are quiet greys, so that the colours with a meaning stand out. The age of a page is one ramp, away from the background:
the newest layer has the most contrast, in light themes too. Warm is only what is dirty, red only danger (and a word says it).
"""

from collections.abc import Mapping
from typing import Any

from rich.style import Style
from rich.theme import Theme as Inks
from textual.app import App
from textual.color import Color
from textual.theme import Theme

# Styles for texts; each may be combined, as in "bold $dirty".
DIRTY, NEW, SHARED, UNTRACKED = "$dirty", "$new", "$shared", "$untracked"
GOOD, WARM, DANGER, QUIET = "$good", "$warm", "$danger", "$quiet"
AGES = ("$age-old", "$age-older", "$age-parent", "$age-own")
MEANINGS = (*AGES, DIRTY, NEW, SHARED, UNTRACKED, GOOD, WARM, DANGER, QUIET, "$changed", "$hit")

# What a theme defines itself; the other meanings are its warning, error and success.
_OWN = ("age-old", "age-older", "age-parent", "age-own", "shared", "quiet", "row-cursor", "row-cursor-blurred")

DARK = Theme(
    name="lamina",
    primary="#4f93bd",
    secondary="#364152",
    accent="#74bcd6",
    warning="#ffb454",
    error="#ff6b6b",
    success="#7fd88f",
    foreground="#d5dbe5",
    background="#0f141b",
    surface="#151b24",
    panel="#1b2330",
    dark=True,
    variables={
        "age-old": "#3f6f9f",
        "age-older": "#4f93bd",
        "age-parent": "#74bcd6",
        "age-own": "#c4eef5",
        "shared": "#8b93ff",
        "quiet": "#566274",
        "text-muted": "#8a96a6",
        "footer-description-foreground": "#8a96a6",
        "row-cursor": "#274b66",
        "row-cursor-blurred": "#242d3a",
    },
)

LIGHT = Theme(
    name="lamina-light",
    primary="#1f6f9f",
    secondary="#b4bfcb",
    accent="#17607f",
    warning="#b4500a",
    error="#c01c2c",
    success="#1a7a36",
    foreground="#1c2530",
    background="#f7f8fa",
    surface="#eef1f5",
    panel="#e3e8ee",
    dark=False,
    variables={
        "age-old": "#5896c2",
        "age-older": "#367dae",
        "age-parent": "#16608f",
        "age-own": "#08305a",
        "shared": "#5048d8",
        "quiet": "#818c9a",
        "text-muted": "#56626f",
        "footer-description-foreground": "#56626f",
        "row-cursor": "#bfdcee",
        "row-cursor-blurred": "#dde3ea",
    },
)

CONTRAST = Theme(
    name="lamina-contrast",
    primary="#6cc4ff",
    secondary="#8a8a8a",
    accent="#8fdcff",
    warning="#ffb000",
    error="#ff8080",
    success="#5cff8a",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#161616",
    boost="#161616",
    dark=True,
    variables={
        "age-old": "#4a86d8",
        "age-older": "#5fb0f0",
        "age-parent": "#8fdcff",
        "age-own": "#ffffff",
        "shared": "#b3a7ff",
        "quiet": "#a8a8a8",
        "text-muted": "#d6d6d6",
        "footer-description-foreground": "#d6d6d6",
        "row-cursor": "#00487a",
        "row-cursor-blurred": "#333333",
    },
)

# Only the terminal's own colours, whose background may be white or black: none that vanishes on either, and its foreground for the
# newest pages. Blue is too dark on a console; the shade of the glyph tells old from older.
ANSI = Theme(
    name="lamina-16",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_bright_black",
    accent="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        "age-old": "ansi_bright_blue",
        "age-older": "ansi_bright_blue",
        "age-parent": "ansi_cyan",
        "age-own": "ansi_default",
        "shared": "ansi_bright_blue",
        "quiet": "ansi_bright_black",
        "text-muted": "ansi_default",
        "footer-description-foreground": "ansi_default",
        "row-cursor": "ansi_default",
        "row-cursor-blurred": "ansi_default",
        # Textual's are transparent, and a dialog must cover what is behind it.
        "panel": "ansi_default",
        "surface": "ansi_default",
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "border": "ansi_cyan",
        "border-blurred": "ansi_bright_black",
        "footer-key-foreground": "ansi_cyan",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
    },
)

THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST, ANSI)}


def meanings(theme: Theme) -> dict[str, str]:
    """The colours of all meanings in *theme*. What it lacks, if it is not lamina's, is taken from the most similar one of lamina's."""
    like = ANSI if theme.ansi else DARK if theme.dark else LIGHT
    found = {**like.variables, **theme.variables}
    warning, success, error = (theme.warning or like.warning, theme.success or like.success, theme.error or like.error)
    assert warning and success and error
    return {
        "dirty": warning,
        "warm": warning,
        "changed": warning,
        "new": success,
        "good": success,
        "danger": error,
        "untracked": found["quiet"],
        "hit": theme.primary,
        "hit-text": "ansi_black" if theme.ansi else theme.background or str(like.background),
    } | {name: found[name] for name in _OWN}


def inks(colours: Mapping[str, str]) -> Inks:
    """The meanings as styles of texts: `Text("…", style="$dirty")`, or "bold $dirty"."""
    found: dict[str, str | Style] = {}
    for name in MEANINGS:
        style = Style(color=Color.parse(colours[name.removeprefix("$")]).rich_color)
        found[name] = style
        found[f"bold {name}"] = style + Style(bold=True)
    return Inks(found, inherit=False)


# Glyphs of pages by age.
_AGES = "░▒▓█"


def is_shaded(app: App[Any]) -> bool:
    """Whether shades of one colour cannot be distinguished, so that glyphs must tell."""
    return app.no_color or app.native_ansi_color


def told_by_colour(app: App[Any]) -> str:
    """The glyphs of cells whose colour alone tells what they are, so that they can be drawn as full blocks."""
    if is_shaded(app):
        return ""
    # People who need high contrast may not distinguish hues.
    return _AGES if app.theme == CONTRAST.name else f"{_AGES}*+≈="
