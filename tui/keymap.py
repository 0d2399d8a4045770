"""Which key does what, in one place. The same key means the same everywhere."""

from textual.binding import Binding, BindingType

APP_KEYS: list[BindingType] = [
    Binding("1", "show('processes')", "processes", tooltip="the process tree"),
    Binding("3", "show('stack')", "stack", tooltip="the layers of the target"),
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

STACK_KEYS: list[BindingType] = [
    Binding("o", "open", "open", show=False, tooltip="open another stack, also of a program that has ended"),
    Binding("r", "restore", "restore", tooltip="put the program back to this layer (asks)"),
    Binding("x", "dedup", "dedup", tooltip="take out of the ancestors what this layer holds (dry run first)"),
    Binding("escape", "app.show('processes')", "back", show=False),
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
