"""Descriptors of files, pipes, terminals and counters."""
