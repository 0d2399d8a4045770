"""lamina: the engine is `lamina.core`, the screen is `lamina.tui`. The two links here give the folders `core` and `tui` these names."""
