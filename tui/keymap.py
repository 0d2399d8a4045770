"""Which key does what, in one place. The same key means the same everywhere."""

from textual.binding import Binding, BindingType

APP_KEYS: list[BindingType] = [
    Binding("1", "show('processes')", "processes", tooltip="the process tree"),
    Binding("2", "show('target')", "target", tooltip="the memory of the target as it is now"),
    Binding("3", "show('stack')", "stack", tooltip="the layers of the target"),
    Binding("4", "show('image')", "image", tooltip="what a layer holds, byte by byte"),
    Binding("5", "show('jobs')", "jobs", tooltip="what was done, with its command line"),
    Binding("c", "cancel_act", "cancel", show=False, tooltip="cancel the running work; the target runs on"),
    Binding("question_mark,f1", "help", "help", key_display="?", tooltip="all keys"),
    Binding("q", "leave", "quit", tooltip="leave lamina; tracked programs stay tracked"),
    Binding("ctrl+c", "leave", "quit", show=False),
]

TARGET_KEYS: list[BindingType] = [
    Binding("t", "track", "track", tooltip="start tracking the program's memory, or end it"),
    Binding("d", "dump", "dump", tooltip="take a layer: the first is full, then only what changed"),
    Binding("F", "final", "final dump", show=False, tooltip="take a last layer and end the program (asks)"),
]

PROCESS_KEYS: list[BindingType] = [
    # Of priority, so that letters typed ahead go into the filter and are not taken for commands of the list.
    Binding("slash", "filter", "filter", key_display="/", priority=True, tooltip="filter by name, command line or pid; ! turns it round"),
    Binding("enter", "enter", "stack", show=False, tooltip="make it the target and show its stack"),
    Binding("space", "fold", "fold", show=False, tooltip="fold or unfold what is below"),
    Binding("full_stop", "follow", "follow", show=False, key_display=".", tooltip="back to the target"),
    Binding("escape", "clear", "clear filter", show=False),
]

TARGET_SCREEN_KEYS: list[BindingType] = [
    Binding("a", "address", "address", tooltip="go to an address"),
    Binding("escape", "app.show('processes')", "back", show=False),
]

STACK_KEYS: list[BindingType] = [
    Binding("enter", "image", "image", tooltip="what this layer holds: tasks, files, every byte of its memory"),
    Binding("o", "open", "open", show=False, tooltip="open another stack, also of a program that has ended"),
    Binding("r", "restore", "restore", tooltip="put the program back to this layer (asks)"),
    Binding("x", "dedup", "dedup", tooltip="take out of the ancestors what this layer holds (dry run first)"),
    Binding("p", "next_task", "next task", show=False, tooltip="the memory of the next process in the layer"),
    Binding("escape", "app.show('processes')", "back", show=False),
]

IMAGE_KEYS: list[BindingType] = [
    Binding("a", "address", "address", tooltip="go to an address"),
    Binding("slash", "find", "find", key_display="/", tooltip="find text; ^r a regular expression, ^x bytes in hexadecimal, ^i a number"),
    Binding("n", "hit(1)", "next", show=False, tooltip="to the next hit"),
    Binding("N", "hit(-1)", "previous", show=False, tooltip="to the hit before"),
    Binding("C", "core", "core file", tooltip="write a core file of this task for gdb"),
    Binding("p", "next_task", "next task", show=False, tooltip="the memory of the next process in the layer"),
    Binding("y", "copy", "copy", show=False, tooltip="copy the bytes under the cursor, as hexadecimal"),
    Binding("escape", "back", "back", show=False),
]

JOB_KEYS: list[BindingType] = [
    Binding("y", "copy", "copy command", tooltip="copy the command line to the clipboard"),
    Binding("escape", "app.show('processes')", "back", show=False),
]

LIST_KEYS: list[BindingType] = [
    Binding("up,k", "move(-1)", "up", show=False),
    Binding("down,j", "move(1)", "down", show=False),
    Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
    Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
    Binding("home,g", "end(False)", "first", show=False),
    Binding("end,G", "end(True)", "last", show=False),
    Binding("enter", "choose", "choose", show=False),
]

MAP_KEYS: list[BindingType] = [
    Binding("left", "cell(-1)", "pan", show=False, key_display="←", tooltip="to the cell before"),
    Binding("right", "cell(1)", "pan", show=False, key_display="→", tooltip="to the next cell"),
    Binding("up,k", "line(-1)", "up", show=False),
    Binding("down,j", "line(1)", "down", show=False),
    Binding("pageup,ctrl+b", "screen(-1)", "page up", show=False),
    Binding("pagedown,ctrl+f", "screen(1)", "page down", show=False),
    Binding("home,g", "end(False)", "first", show=False),
    Binding("end,G", "end(True)", "last", show=False),
    Binding("plus,equals_sign", "zoom(True)", "zoom in", key_display="+", tooltip="half as many pages a cell, down to one page"),
    Binding("minus", "zoom(False)", "zoom out", key_display="-", tooltip="twice as many pages a cell"),
    Binding("0", "whole", "whole", show=False, tooltip="the whole address space at once"),
    Binding("enter", "choose", "page", show=False, tooltip="look at this page"),
]

HEX_KEYS: list[BindingType] = [
    Binding("left", "byte(-1)", "before", show=False),
    Binding("right", "byte(1)", "next", show=False),
    Binding("up,k", "line(-1)", "up", show=False),
    Binding("down,j", "line(1)", "down", show=False),
    Binding("pageup,ctrl+b", "screen(-1)", "page up", show=False),
    Binding("pagedown,ctrl+f", "screen(1)", "page down", show=False),
    Binding("left_square_bracket", "area(-1)", "area", show=False, key_display="[", tooltip="to the area before"),
    Binding("right_square_bracket", "area(1)", "area", show=False, key_display="]", tooltip="to the next area"),
    Binding("less_than_sign", "page(-1)", "page", show=False, key_display="<", tooltip="a page back"),
    Binding("greater_than_sign", "page(1)", "page", show=False, key_display=">", tooltip="a page on"),
]

TREE_KEYS: list[BindingType] = [
    Binding("up,k", "cursor_up", "up", show=False),
    Binding("down,j", "cursor_down", "down", show=False),
    Binding("left", "cursor_parent", "parent", show=False, tooltip="to the branch it hangs on"),
    Binding("right,space", "toggle_node", "open", show=False, tooltip="open or close the branch"),
    Binding("enter", "select_cursor", "choose", show=False, tooltip="open or close it; of an area, go there"),
    Binding("pageup,ctrl+b", "page_up", "page up", show=False),
    Binding("pagedown,ctrl+f", "page_down", "page down", show=False),
    Binding("home,g", "scroll_home", "first", show=False),
    Binding("end,G", "scroll_end", "last", show=False),
]
