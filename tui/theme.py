"""The one theme of lamina's own: quiet greys, so that the colours with a meaning stand out. Textual's others are in the palette."""

from textual.theme import Theme

DANGER, WARM, GOOD, QUIET = "#ff5f5f", "#ffb454", "#7fd88f", "#4a5568"

LAMINA = Theme(
    name="lamina",
    primary="#4f93bd",
    secondary="#364152",
    accent="#74bcd6",
    warning=WARM,
    error=DANGER,
    success=GOOD,
    foreground="#d5dbe5",
    background="#0f141b",
    surface="#151b24",
    panel="#1b2330",
    dark=True,
    variables={"footer-key-foreground": "#74bcd6", "footer-description-foreground": "#9aa7b8", "text-muted": "#7f8b9c"},
)
