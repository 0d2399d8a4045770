"""lamina's screen: renders the engine's events and sends it requests. Holds no engine code."""
