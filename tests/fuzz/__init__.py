"""Damaged and hostile images: readers give a right answer or one clear line, in bounded time and memory, and look at nothing else."""
