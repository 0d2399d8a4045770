"""Which key does what, in one place. The same key means the same everywhere."""

from textual.binding import Binding, BindingType

from lamina.tui.keys.action_names import name_actions


def _moves(lines: tuple[str, str], pages: tuple[str, str], ends: tuple[str, str]) -> list[BindingType]:
    """The keys that move in everything that has a cursor or scrolls. Each pair is the action backward and forward."""
    return [
        Binding("up,k", lines[0], "up", show=False, tooltip="a line up"),
        Binding("down,j", lines[1], "down", show=False, tooltip="a line down"),
        Binding("pageup,ctrl+b", pages[0], "page up", show=False, tooltip="a screenful up"),
        Binding("pagedown,ctrl+f", pages[1], "page down", show=False, tooltip="a screenful down"),
        Binding("home,g", ends[0], "first", show=False, tooltip="to the beginning"),
        Binding("end,G", ends[1], "last", show=False, tooltip="to the end"),
    ]


APP_KEYS: list[BindingType] = [
    Binding("1", "show('processes')", "processes", tooltip="the process tree"),
    Binding("2", "show('target')", "target", tooltip="the memory of the target as it is now"),
    Binding("3", "show('stack')", "stack", tooltip="the layers of the target"),
    Binding("4", "show('image')", "image", tooltip="what a layer holds, byte by byte"),
    Binding("5", "show('jobs')", "jobs", tooltip="what was done, with its command line"),
    Binding("6", "show('terminal')", "terminal", tooltip="programs in terminals of lamina's own, kept with their screens"),
    Binding("ctrl+n", "new_program", "new program", show=False, key_display="^n", tooltip="start a program in a terminal of lamina's own"),
    Binding("c", "cancel_operation", "cancel", show=False, tooltip="cancel the running work; the target runs on"),
    Binding("y", "copy_row", "copy", show=False, tooltip="copy the row under the cursor, or what the mouse marked, to the clipboard"),
    Binding("Y", "save_view", "save view", show=False, tooltip="save what the pane shows: text, CSV, JSON; or the screen as SVG"),
    Binding("question_mark,f1", "help", "help", key_display="?", tooltip="all keys of this screen, what the glyphs mean, what : takes"),
    Binding("ctrl+p", "command_palette", "palette", key_display="^p", tooltip="all actions, found by a few letters of their names"),
    # With priority, so that letters typed ahead go into the line.
    Binding("colon", "jump_line", "go to", key_display=":", priority=True, tooltip="go to a screen, layer, process or address by name"),
    Binding("q", "leave", "quit", tooltip="leave lamina; tracked programs stay tracked"),
    Binding("ctrl+c,ctrl+q", "leave", "quit", show=False, key_display="^c", tooltip="leave lamina, as q"),
]

PANE_KEYS: list[BindingType] = [
    Binding("f,f10", "maximise", "maximise", show=False, key_display="f", tooltip="the focused pane alone on the screen, and back"),
    Binding("tab", "next_pane(1)", "next pane", show=False, key_display="Tab", tooltip="to the next pane"),
    Binding("shift+tab", "next_pane(-1)", "pane before", show=False, key_display="shift+Tab", tooltip="to the pane before"),
    Binding("ctrl+o", "jump_mode", "any pane", show=False, key_display="^o", tooltip="a letter on every pane: press it to go there"),
    Binding("ctrl+right", "resize(1, 0)", "wider", show=False, key_display="^→", tooltip="the focused pane wider; or drag its edge"),
    Binding("ctrl+left", "resize(-1, 0)", "narrower", show=False, key_display="^←", tooltip="the focused pane narrower"),
    Binding("ctrl+down", "resize(0, 1)", "taller", show=False, key_display="^↓", tooltip="the focused pane taller; or drag its edge"),
    Binding("ctrl+up", "resize(0, -1)", "lower", show=False, key_display="^↑", tooltip="the focused pane lower"),
]

TARGET_KEYS: list[BindingType] = [
    Binding("t", "track", "track", tooltip="start tracking the program's memory, or end it"),
    Binding("d", "dump", "dump", tooltip="take a layer: the first is full, then only what changed"),
    Binding("T", "timed", "timed layers", show=False, tooltip="take layers by time or by MiB written; again ends it"),
    Binding("S", "send", "send…", show=False, tooltip="take a layer, its pages to a page server (asks)"),
    Binding("F", "final", "final dump", show=False, tooltip="take a last layer and end the program (asks)"),
]

PROCESS_KEYS: list[BindingType] = [
    # With priority, so that letters typed ahead go into the filter and are not taken for commands of the list.
    Binding(
        "slash",
        "filter",
        "filter",
        key_display="/",
        priority=True,
        tooltip="filter by name, command line or pid, as text or regular expression; ! all others, -f letters in this order",
    ),
    Binding("o", "columns", "columns", tooltip="which columns are shown, and in which order"),
    Binding(
        "greater_than_sign", "sort(1)", "sort", key_display=">", tooltip="sort by the next column, then the tree again; or click a title"
    ),
    Binding("less_than_sign", "sort(-1)", "sort back", show=False, key_display="<", tooltip="sort by the column before"),
    Binding("I", "reverse", "reverse", show=False, tooltip="reverse the order"),
    Binding("space", "fold", "fold", tooltip="fold or unfold what is below"),
    Binding("asterisk", "fold_all", "fold all", show=False, key_display="*", tooltip="fold or unfold the whole tree"),
    Binding("full_stop", "follow", "follow", key_display=".", tooltip="keep this row in view wherever it goes in the list, or no longer"),
    Binding("Z", "pause", "pause", show=False, tooltip="stop reading the process table, or go on"),
    Binding("escape", "clear", "clear", show=False, tooltip="one thing at a time: the filter, following, the order"),
]

PROCESS_LIST_KEYS: list[BindingType] = [
    Binding("enter", "choose", "target", tooltip="make it the target and show its memory"),
]

# While a filter is typed.
FILTER_KEYS: list[BindingType] = [
    Binding("escape", "screen.clear", "no filter", key_display="Esc", tooltip="all processes again; after Enter the filter stays"),
]

COLUMNS_KEYS: list[BindingType] = [
    Binding("space", "check", "show or hide", tooltip="show this column, or hide it"),
    Binding("less_than_sign,left", "shift(-1)", "left", key_display="<", tooltip="move this column to the left"),
    Binding("greater_than_sign,right", "shift(1)", "right", key_display=">", tooltip="move this column to the right"),
    Binding("0", "reset", "as at first", tooltip="the usual columns"),
    Binding("escape,q,o", "dismiss(None)", "back", tooltip="back to the tree"),
]

TARGET_SCREEN_KEYS: list[BindingType] = [
    Binding("a", "address", "address", tooltip="go to an address"),
    Binding("escape", "app.show('processes')", "back", show=False, tooltip="back to the processes"),
]

STACK_KEYS: list[BindingType] = [
    Binding("r", "restore", "restore…", tooltip="put the program back to this layer (asks)"),
    Binding("m", "mark", "mark", tooltip="mark this layer; two marked layers are compared at once"),
    Binding("v", "verify", "verify", tooltip="compare this layer and what it inherits with the checksums"),
    Binding("x", "dedup", "dedup…", tooltip="free what layers hold twice, lossless or not (dry run first)"),
    Binding("s", "squash", "squash…", tooltip="merge the layers from the marked one to this (dry run first)"),
    Binding("delete", "drop", "drop…", key_display="Del", tooltip="to the trash, from there for good (dry run first)"),
    Binding("z", "undo", "undo", tooltip="bring back the layer dropped last, or the one under the cursor"),
    Binding("l", "label", "label", tooltip="a name for people"),
    Binding("greater_than_sign", "play", "play", key_display=">", tooltip="play this branch from its oldest layer; any key stops it"),
    Binding("enter", "image", "image", tooltip="what this layer holds: tasks, files, every byte of its memory"),
    Binding("P", "pin", "pin", show=False, tooltip="protect this layer from drop, squash and prune, or end that"),
    Binding("E", "export", "export…", show=False, tooltip="write this layer into one archive, with its ancestors or flat"),
    Binding("I", "import", "import…", show=False, tooltip="make the layers of an archive layers of a stack"),
    Binding("W", "receive", "receive…", show=False, tooltip="be a page server: wait for a layer that another lamina, or criu, sends"),
    Binding("D", "tidy", "prune, trash…", show=False, tooltip="which layers to keep, and emptying the trash (dry run first)"),
    Binding("K", "compress", "compress…", show=False, tooltip="compress the pages of this layer, or expand them"),
    Binding("R", "relink", "relink…", show=False, tooltip="find the parent of a layer that was moved or renamed"),
    Binding("V", "verify_all", "verify all", show=False, tooltip="compare all bytes of all layers with the checksums"),
    Binding("M", "compare_live", "with now", show=False, tooltip="compare this layer with the program as it runs"),
    Binding("equals_sign", "compare", "compare", show=False, key_display="=", tooltip="compare the marked layers, or this with its parent"),
    Binding("o", "open", "open…", show=False, tooltip="open another stack, also of a program that has ended"),
    Binding("p", "next_task", "next task", show=False, tooltip="the memory of the next process in the layer"),
    Binding("escape", "app.show('processes')", "back", show=False, tooltip="back to the processes"),
]

DIFF_KEYS: list[BindingType] = [
    Binding("n", "page(1)", "next page", tooltip="to the next page that differs; of an added or removed run to its first"),
    Binding("N", "page(-1)", "previous", tooltip="to the page before that differs"),
    Binding("left_square_bracket", "area(-1)", "area", show=False, key_display="[", tooltip="to the area before that differs"),
    Binding("right_square_bracket", "area(1)", "area", show=False, key_display="]", tooltip="to the next area that differs"),
    Binding("a", "address", "address", tooltip="go to the page at an address, on both sides"),
    Binding("equals_sign", "again", "again", show=False, key_display="=", tooltip="compare again: the program has gone on"),
    Binding("y", "copy", "copy", show=False, tooltip="copy the command line that says the same"),
    Binding("escape", "back", "back", show=False, tooltip="from the page to the areas, from there to the stack"),
]

PAIR_KEYS: list[BindingType] = [
    *_moves(("lines(-1)", "lines(1)"), ("screens(-1)", "screens(1)"), ("ends(False)", "ends(True)")),
    Binding("space", "whole", "whole page", tooltip="the whole page, or only what differs in it"),
]

IMAGE_KEYS: list[BindingType] = [
    Binding("a", "address", "address", tooltip="go to an address"),
    Binding(
        "slash", "find", "find", key_display="/", tooltip="find text; ^r a regular expression, ^x bytes, ^i a number, ^a only in some areas"
    ),
    Binding("n", "hit(1)", "next", show=False, tooltip="to the next hit"),
    Binding("N", "hit(-1)", "previous", show=False, tooltip="to the hit before"),
    Binding("C", "core", "core file", tooltip="write a core file of this task for gdb"),
    Binding("O", "debugger", "gdb", show=False, tooltip="open gdb on a core file of this task, and come back"),
    Binding("p", "next_task", "next task", show=False, tooltip="the memory of the next process in the layer"),
    Binding("y", "copy", "copy", show=False, tooltip="copy the bytes under the cursor, as hexadecimal"),
    Binding("escape", "back", "back", show=False, tooltip="one step back: the search, its hits, the screen"),
]

JOB_KEYS: list[BindingType] = [
    Binding("c", "cancel_job", "cancel", tooltip="cancel the job under the cursor, elsewhere the one that runs; the target runs on"),
    Binding("y", "copy", "copy", tooltip="copy the command line, or the entry of the log, to the clipboard"),
    Binding("escape", "app.show('processes')", "back", show=False, tooltip="back to the processes"),
]

LOG_KEYS: list[BindingType] = [
    Binding("n", "hit(1)", "next", show=False, tooltip="to the next hit"),
    Binding("N", "hit(-1)", "previous", show=False, tooltip="to the hit before"),
    Binding("plus,equals_sign", "levels(True)", "more levels", key_display="+", tooltip="also entries that matter less, down to debug"),
    Binding("minus", "levels(False)", "fewer", key_display="-", tooltip="show only what matters more, up to errors"),
    Binding("full_stop", "end(True)", "follow", show=False, key_display=".", tooltip="to the newest entry, and follow what comes"),
    Binding("W", "wrap", "wrap", show=False, tooltip="long entries on several lines, or cut"),
    *_moves(("move(-1)", "move(1)"), ("page(-1)", "page(1)"), ("end(False)", "end(True)")),
]

LOG_PANE_KEYS: list[BindingType] = [
    Binding("slash", "search", "find", key_display="/", tooltip="search in the log"),
    Binding("w", "app.save_view", "save", tooltip="save the entries shown in a file"),
    Binding("o", "open", "pager", show=False, tooltip="read the entries shown with $PAGER, and come back"),
    Binding("escape", "clear", "clear", show=False, tooltip="end the search"),
]

# While a program has the keyboard these need the prefix, as do the keys that mean the same everywhere.
TERMINAL_KEYS: list[BindingType] = [
    Binding("ctrl+g", "prefix", "prefix", show=False, key_display="^g", tooltip="then a key of lamina's, as in ^g d; ^g ^g types ^g"),
    Binding("r", "restore", "rewind…", tooltip="put the program and its screen back to the chosen layer (asks)"),
    Binding("up,k", "layer(-1)", "newer", key_display="↑", tooltip="choose a newer layer"),
    Binding("down,j", "layer(1)", "older", key_display="↓", tooltip="choose an older layer"),
    Binding("n", "program(1)", "next program", tooltip="show the next program"),
    Binding("p", "program(-1)", "program before", show=False, tooltip="show the program before"),
    Binding("delete", "forget", "close", key_display="Del", tooltip="close the terminal of a program that has ended; its layers stay"),
    Binding("escape", "app.show('processes')", "back", show=False, tooltip="back to the processes"),
]

LIST_KEYS: list[BindingType] = [
    *_moves(("move(-1)", "move(1)"), ("page(-1)", "page(1)"), ("end(False)", "end(True)")),
    Binding("enter", "choose", "choose", show=False, tooltip="take what is under the cursor"),
]

MAP_KEYS: list[BindingType] = [
    Binding("left", "cell(-1)", "pan", show=False, key_display="←", tooltip="to the cell before"),
    Binding("right", "cell(1)", "pan", show=False, key_display="→", tooltip="to the next cell"),
    *_moves(("line(-1)", "line(1)"), ("screen(-1)", "screen(1)"), ("end(False)", "end(True)")),
    Binding("plus,equals_sign", "zoom(True)", "zoom in", key_display="+", tooltip="half as many pages a cell, down to one page"),
    Binding("minus", "zoom(False)", "zoom out", key_display="-", tooltip="twice as many pages a cell"),
    Binding("0", "whole", "whole", show=False, tooltip="the whole address space at once"),
    Binding("enter", "choose", "page", tooltip="show this page byte by byte"),
]

# With priority: the line itself has another meaning for some of them. To most terminals ^i and Tab are one key.
FIND_KEYS: list[BindingType] = [
    Binding(
        "ctrl+r", "mean('regex')", "regex", key_display="^r", priority=True, tooltip="what is typed is a regular expression over bytes"
    ),
    Binding("ctrl+x", "mean('hex')", "hex", key_display="^x", priority=True, tooltip="bytes in hexadecimal, ?? for any"),
    Binding(
        "ctrl+i,tab", "mean('number')", "number", key_display="^i", priority=True, tooltip="a number: 64 bits, 32 bits, a double in turn"
    ),
    Binding("ctrl+t", "mean('text')", "text", key_display="^t", priority=True, tooltip="text again"),
    Binding(
        "ctrl+a",
        "where",
        "area",
        key_display="^a",
        priority=True,
        tooltip="only in heap, stack, anonymous memory, … or the area at the cursor",
    ),
    Binding("escape", "leave", "back", show=False, tooltip="back to the bytes"),
]

HEX_KEYS: list[BindingType] = [
    Binding("left", "byte(-1)", "before", show=False, tooltip="to the byte before"),
    Binding("right", "byte(1)", "next", show=False, tooltip="to the next byte"),
    *_moves(("line(-1)", "line(1)"), ("screen(-1)", "screen(1)"), ("end(False)", "end(True)")),
    Binding("left_square_bracket", "area(-1)", "area", show=False, key_display="[", tooltip="to the area before"),
    Binding("right_square_bracket", "area(1)", "area", show=False, key_display="]", tooltip="to the next area"),
    Binding("less_than_sign", "page(-1)", "page", show=False, key_display="<", tooltip="a page back"),
    Binding("greater_than_sign", "page(1)", "page", show=False, key_display=">", tooltip="a page on"),
]

TREE_KEYS: list[BindingType] = [
    *_moves(("cursor_up", "cursor_down"), ("page_up", "page_down"), ("scroll_home", "scroll_end")),
    Binding("left", "cursor_parent", "parent", show=False, tooltip="to the branch it hangs on"),
    Binding("right,space", "toggle_node", "open", show=False, tooltip="open or close the branch"),
    Binding("enter", "select_cursor", "choose", show=False, tooltip="open or close it; of an area, go there"),
]

# For texts that are longer than their pane.
SCROLL_KEYS: list[BindingType] = _moves(("scroll_up", "scroll_down"), ("page_up", "page_down"), ("scroll_home", "scroll_end"))

DIALOG_KEYS: list[BindingType] = [
    Binding("left,up,h,k", "answer(-1)", "answer before", show=False, tooltip="the answer before"),
    Binding("right,down,l,j", "answer(1)", "next answer", show=False, tooltip="the next answer"),
    Binding("pageup,ctrl+b", "page(-1)", "page up", show=False, tooltip="scroll back, if there is more to read than fits"),
    Binding("pagedown,ctrl+f", "page(1)", "page down", show=False, tooltip="read on"),
    Binding("escape", "dismiss(None)", "cancel", key_display="Esc", tooltip="the safe answer"),
]

# Dialogs with lines to fill in, where letters are letters.
FORM_KEYS: list[BindingType] = [
    Binding("up", "app.focus_previous", "line before", show=False, tooltip="the line before"),
    Binding("down", "app.focus_next", "next line", show=False, tooltip="the next line"),
    Binding("escape", "dismiss(None)", "cancel", key_display="Esc", tooltip="change nothing"),
]

# Dialogs with a list.
CHOOSE_KEYS: list[BindingType] = [
    Binding("escape,q", "dismiss(None)", "back", key_display="Esc", tooltip="choose nothing"),
]

CHOOSE_STACK_KEYS: list[BindingType] = [
    Binding("a", "elsewhere", "another place", tooltip="type where it is"),
    Binding("escape,q", "dismiss(None)", "back", key_display="Esc", tooltip="choose nothing"),
]

PANE_LETTER_KEYS: list[BindingType] = [
    Binding("escape,ctrl+o", "dismiss(None)", "back", key_display="Esc", tooltip="stay where you were"),
]

SEARCH_LINE_KEYS: list[BindingType] = [
    Binding("escape", "leave", "back", key_display="Esc", tooltip="back to what is searched"),
]

JUMP_LINE_KEYS: list[BindingType] = [
    Binding("tab", "complete", "complete", key_display="Tab", tooltip="complete the word, then the next one that fits"),
    Binding("up", "older(-1)", "typed before", key_display="↑", tooltip="the line typed before"),
    Binding("down", "older(1)", "typed after", show=False, key_display="↓", tooltip="the line typed after it"),
    Binding("escape", "leave", "back", key_display="Esc", tooltip="back to where you were"),
]

HELP_KEYS: list[BindingType] = [
    Binding("slash", "search", "search", key_display="/", priority=True, tooltip="show only the lines with a word"),
    Binding("escape,question_mark,q,f1", "back", "back", key_display="Esc", tooltip="out of the search, then out of the help"),
]

# Every list above under the name that its context has in the configuration: STACK_KEYS are those of "stack".
CONTEXTS: dict[str, list[BindingType]] = {
    name.removesuffix("_KEYS").lower().replace("_", "-"): keys for name, keys in list(globals().items()) if name.endswith("_KEYS")
}
for _context, _bindings in CONTEXTS.items():
    name_actions(_context, _bindings)
