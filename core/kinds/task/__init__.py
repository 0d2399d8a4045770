"""What a process has beside memory and descriptors."""
