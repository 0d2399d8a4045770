"""Reads processes and stacks for the screen. Every function here is called in a worker thread, by `Bridge.ask` or `Bridge.follow`."""
