"""Questions before layers are exported, imported, compressed or expanded, and before a broken parent link is corrected."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui.dialogs.ask_stack_change import ask_before
from lamina.tui.dialogs.ask_text import AskText
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow, StackView
from lamina.tui.operations import archives, checks
from lamina.tui.operations import layer_command_lines as commands
from lamina.tui.operations.proposal import Proposal
from lamina.tui.paths import is_directory, is_file, typed_path
from lamina.tui.services.base_app import BaseApp

if TYPE_CHECKING:
    from lamina.core.archive.importing import ImportResult


def ask_export(app: BaseApp, row: LayerRow, stack: StackView) -> None:
    """Ask for a file name, then for what goes into the archive."""

    def wrong(line: str) -> str:
        path = _path(line)
        if os.path.lexists(path):
            return f"{path} is there already"
        return "" if is_directory(path.parent) else f"there is no directory {path.parent}"

    def answered(line: str | None) -> None:
        if line:
            _ask_form(app, row, stack, _path(line))

    name = f"{stack.path.name.split('.')[0]}-{row.name}.tar.zst"
    app.push_screen(AskText(f"export layer {row.name} to which file?", "NAME.tar.zst", name, wrong), answered)


def _ask_form(app: BaseApp, row: LayerRow, stack: StackView, output: Path) -> None:
    above = stack.ancestors(row)
    size = units.size(row.disk_bytes + sum(it.disk_bytes for it in above))
    lines = [f"To {output}. It is checked first, and the file appears only when it is whole."]
    if above:
        lines.append(f"With its {len(above)} ancestors: {size} before it is compressed.")
        lines.append("Flat: one full layer of the same memory, for tools without parents. Alone: to be imported where its ancestors are.")
        forms = {"with": ("", "With ancestors"), "flat": ("flat", "Flat"), "alone": ("alone", "Alone")}
    else:
        lines.append(f"A full layer: {size} before it is compressed.")
        forms = {"with": ("", "Export")}
    choices = [Choice(key, label, command=commands.export_line(row.path, output, form)) for key, (form, label) in forms.items()]

    def answered(choice: str | None) -> None:
        if choice in forms:
            app.do(archives.export(row, output, forms[choice][0]))

    app.push_screen(Confirm(f"Export layer {row.name}", lines, [Choice("cancel", "Cancel"), *choices]), answered)


def ask_import(app: BaseApp, stack: StackView) -> None:
    """Ask which archive to import; if the open stack is an archive, ask for the directory to import it into."""

    def no_file(line: str) -> str:
        path = _path(line)
        return "" if any(map(is_file, (path, *path.parents))) else f"there is no file {path}"

    def no_place(line: str) -> str:
        path = _path(line)
        good = is_directory(path) or (is_directory(path.parent) and not os.path.lexists(path))
        return "" if good else f"{path} cannot be a directory of layers"

    if stack.archive:
        name = stack.path.name.split(".")[0]
        ask = AskText(f"import {stack.path.name} into which directory?", "it is made if it is not there", name, no_place)
        app.push_screen(ask, lambda line: _plan_import(app, stack.path, _path(line)) if line else None)
    else:
        ask = AskText(f"import into {stack.path.name} from which archive?", "NAME.tar.zst, or what podman and runc export", "", no_file)
        app.push_screen(ask, lambda line: _plan_import(app, _path(line), stack.path) if line else None)


def _plan_import(app: BaseApp, archive: Path, stack: Path) -> None:
    def done(result: "ImportResult") -> None:
        app.follow_layer(result.layers[0].path if result.layers else None)
        if app.session.stack_dir != stack:
            app.reader.open_stack(stack)

    def ask(found: Proposal, name: str) -> None:
        command = commands.import_line(archive, stack, name, trust=bool(found.plan.untrusted))
        trust = bool(found.plan.untrusted)
        choice = Choice("import", "Trust it and import" if trust else "Import", danger=trust, command=command)
        operation = archives.import_(archive, stack, found.plan, name, done)
        ask_before(app, f"Import {archive.name} into {stack.name}", found, choice, operation)

    def show(found: Proposal) -> None:
        taken = found.plan.taken
        if not taken:
            ask(found, "")
            return

        def wrong(name: str) -> str:
            return f"{stack.name} has {name} already" if os.path.lexists(stack / name) else ""

        title = f"there is another {taken} in {stack.name}: import this one as?"
        app.push_screen(AskText(title, "another name", f"{taken}b", wrong), lambda name: ask(found, name) if name else None)

    app.do(archives.plan_import(archive, stack, show))


def ask_compress(app: BaseApp, row: LayerRow) -> None:
    """Ask before a layer is compressed or expanded."""
    verb = "expand" if row.compressed else "compress"

    def show(found: Proposal) -> None:
        choice = Choice(verb, verb.capitalize(), command=commands.compress_line(verb, row.path))
        ask_before(app, f"{verb.capitalize()} layer {row.name}", found, choice, archives.compress_or_expand(row))

    app.do(archives.plan_compress_or_expand(row, show))


def ask_relink(app: BaseApp, row: LayerRow) -> None:
    """Ask where the parent may be, then whether the one that was found is right."""

    def wrong(line: str) -> str:
        return "" if is_directory(_path(line)) else f"there is no directory {_path(line)}"

    def show(found: Proposal) -> None:
        if found.nothing:
            app.notify(f"layer {row.name}: {found.summary}")
            return
        choice = Choice("relink", "Relink", command=commands.relink_line(row.path, found.plan.parent.path))
        ask_before(app, f"Relink layer {row.name}", found, choice, checks.relink(row, found))

    def answered(line: str | None) -> None:
        if line is not None:
            app.do(checks.plan_relink(row, _path(line) if line.strip() else None, show))

    title = f"relink layer {row.name}: where is its parent?"
    app.push_screen(AskText(title, "its directory, or one to look in; empty: this stack", "", wrong), answered)


def _path(line: str) -> Path:
    return typed_path(line).absolute()
