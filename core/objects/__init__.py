"""Kernel objects as a graph: how kinds are asked, saved, made and handed to tasks. Names no kind."""
