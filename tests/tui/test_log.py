"""The log as a plain value: levels, what is kept, what is found."""

from lamina.tui.model.log import Level, Log


def test_the_oldest_go_and_are_counted() -> None:
    log = Log(keep=3)
    for number in range(5):
        log.add(Level.INFO, f"line {number}")
    assert [entry.text for entry in log] == ["line 2", "line 3", "line 4"]
    assert (len(log), log.gone) == (3, 2)
    assert [entry.number for entry in log] == [3, 4, 5]


def test_a_level_shows_what_matters_as_much_or_more() -> None:
    log = Log()
    for level in Level:
        log.add(level, level.word)
    assert [entry.text for entry in log.from_level(Level.NOTICE)] == ["notice", "warning", "error"]
    assert len(log.from_level(Level.DEBUG)) == 5


def test_an_entry_is_one_line_whatever_was_said() -> None:
    entry = Log().add(Level.ERROR, "cannot dump:\n\x1b[2J no space", "dump of redis 4711")
    assert entry.said == "dump of redis 4711: cannot dump: \\x1b[2J no space"
    assert entry.line.endswith(f"error   {entry.said}") and "\n" not in entry.line


def test_what_it_is_about_is_said_once() -> None:
    assert Log().add(Level.INFO, "dump of redis 4711 waits", "dump of redis 4711").said == "dump of redis 4711 waits"


def test_search_is_in_what_is_said_and_does_not_mind_capitals() -> None:
    entry = Log().add(Level.ERROR, "No Space left", "dump of redis 4711")
    assert entry.has("no space") and entry.has("REDIS 47") and not entry.has("error")
