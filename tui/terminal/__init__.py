"""A program in a terminal of ours: the pseudo terminal, the emulator that knows its screen, the keys that go to it."""
