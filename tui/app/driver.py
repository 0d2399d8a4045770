"""Reads the keyboard in a thread, as Textual's own driver does, with a parser that does not mistake Escape."""

import os
import selectors
from codecs import getincrementaldecoder

from textual.drivers.linux_driver import LinuxDriver

from lamina.tui.keys.parser import KeyParser

_READ, _WAIT_S = 4096, 0.1


class TerminalDriver(LinuxDriver):
    """Textual's driver for terminals."""

    def run_input_thread(self) -> None:
        """Read until the app ends or gives the terminal away."""
        parser = KeyParser()
        # What is no UTF-8 is no reason to stop reading.
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(_WAIT_S):
                    data = os.read(self.fileno, _READ)
                    if not data:
                        break  # the terminal is gone, which SIGHUP says
                    for message in parser.feed(decode(data)):
                        self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)
