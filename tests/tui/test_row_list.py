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


async def test_a_name_cannot_speak_to_the_terminal() -> None:
    app = ListApp()
    async with app.run_test(size=(60, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.show_rows([Item(1, "a\x1b[2Jb\udcffc\nd\x9b1m")])
        await pilot.pause()
        assert "a\\x1b[2Jb\\udcffc d\\x9b1m" in text_of(rows, 1)


class MouseApp(App[None]):
    """One list of three columns that drop in an order of their own, and what was done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.happened: list[object] = []

    def compose(self) -> ComposeResult:
        columns = [
            Column[Item]("KEY", 6, lambda item: [(str(item.key), "")], right=True, drop=2),
            Column[Item]("TEXT", 0, lambda item: [(item.text, "")], least=10),
            Column[Item]("SIZE", 8, lambda item: [("1", "")], right=True),
            Column[Item]("LONG", 8, lambda item: [("long", "")], drop=1),
        ]
        rows: RowList[Item] = RowList(columns, lambda item: item.key)
        rows.show_columns(columns, ("SIZE", True))
        yield rows

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        self.happened.append(event.row)

    def on_row_list_title_clicked(self, event: RowList.TitleClicked) -> None:
        self.happened.append(event.title)


async def test_a_click_goes_to_a_row_two_choose_it_and_titles_say_what_they_are() -> None:
    app = MouseApp()
    async with app.run_test(size=(60, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.show_rows([Item(n) for n in range(100)])
        await pilot.pause()
        await pilot.click(rows, offset=(12, 4))
        assert rows.row == Item(3) and app.happened == []
        await pilot.double_click(rows, offset=(12, 5))
        assert rows.row == Item(4) and app.happened == [Item(4)]
        assert text_of(rows, 0).split() == ["KEY", "TEXT", "SIZE↓", "LONG"]
        for title in ("KEY", "TEXT", "SIZE", "LONG"):
            await pilot.click(rows, offset=(text_of(rows, 0).index(title) + 1, 0))
        assert app.happened[1:] == ["KEY", "TEXT", "SIZE", "LONG"]


async def test_what_was_scrolled_to_stays_whatever_comes_before_it() -> None:
    app = MouseApp()
    async with app.run_test(size=(60, 12)) as pilot:
        rows: RowList[Item] = app.query_one(RowList)
        rows.show_rows([Item(n) for n in range(100, 200)])
        await pilot.pause()
        rows.scroll_to(y=50, animate=False, immediate=True)
        # The cursor is out of sight, and one of the rows in sight ends.
        rows.show_rows([Item(n) for n in range(60, 200) if n != 150])
        assert rows.row == Item(100) and rows.visible_rows[0] == Item(151)
        rows.show_rows([Item(n) for n in range(200)], still=True)
        assert rows.row == Item(100) and rows.visible_rows[0] == Item(90)


async def test_columns_drop_in_the_order_that_they_declare() -> None:
    for width, titles in ((40, "KEY TEXT SIZE↓ LONG"), (33, "TEXT SIZE↓ LONG"), (24, "TEXT SIZE↓"), (11, "… SIZE↓")):
        app = MouseApp()
        async with app.run_test(size=(width, 12)) as pilot:
            rows: RowList[Item] = app.query_one(RowList)
            rows.show_rows([Item(1)])
            await pilot.pause()
            assert text_of(rows, 0).split() == titles.split()
            assert rows.render_line(1).cell_length == rows.render_line(0).cell_length == width
