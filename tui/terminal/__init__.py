"""Programs in terminals of lamina's own: the pseudo terminal, the emulator that knows its screen, the keys that go to it."""
