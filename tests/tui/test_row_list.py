"""Rows that stay put while they are read anew."""

from dataclasses import dataclass

from textual.app import App, ComposeResult

from lamina.tui.widgets.row_list import Column, RowList


@dataclass(frozen=True)
class Item:
    key: int
    text: str = ""


class ListApp(App[None]):
    """One list."""

    def compose(self) -> ComposeResult:
        columns = [
            Column[Item]("KEY", 6, lambda item: [(str(item.key), "")], right=True),
            Column[Item]("TEXT", 0, lambda item: [(item.text, "dim")]),
            Column[Item]("WIDE", 10, lambda item: [("wide", "")], keep=60),
        ]
        yield RowList(columns, lambda item: item.key)


def text_of(rows: RowList[Item], y: int) -> str:
    return "".join(segment.text for segment in rows.render_line(y))


async def test_the_cursor_keeps_its_row_and_its_line() -> None:
    app = ListApp()
    async with app.run_test(size=(40, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.focus()
        rows.show_rows([Item(n) for n in range(100, 200)])
        await pilot.press(*["down"] * 30)
        await pilot.pause()
        assert rows.row == Item(130)
        line = next(y for y in range(12) if "130" in text_of(rows, y))
        rows.show_rows([Item(n) for n in range(50, 200)])
        await pilot.pause()
        assert rows.row == Item(130)
        assert "130" in text_of(rows, line)


async def test_when_its_row_is_gone_the_cursor_stays_at_its_place() -> None:
    app = ListApp()
    async with app.run_test(size=(40, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.focus()
        rows.show_rows([Item(n) for n in range(5)])
        await pilot.press("G")
        rows.show_rows([Item(n) for n in range(3)])
        assert rows.row == Item(2)
        rows.show_rows([])
        assert rows.row is None


async def test_columns_drop_when_it_is_narrow() -> None:
    for width, shown in ((80, True), (40, False)):
        app = ListApp()
        async with app.run_test(size=(width, 12)) as pilot:
            rows: RowList[Item] = app.query_one(RowList)
            rows.show_rows([Item(1, "some text")])
            await pilot.pause()
            assert ("WIDE" in text_of(rows, 0)) is shown
            assert "some text" in text_of(rows, 1)


async def test_a_long_cell_is_cut_with_an_ellipsis_and_no_line_is_wider_than_the_list() -> None:
    app = ListApp()
    async with app.run_test(size=(40, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.show_rows([Item(1, "日本語 " * 30)])
        await pilot.pause()
        assert "…" in text_of(rows, 1)
        assert rows.render_line(1).cell_length == rows.render_line(0).cell_length
