"""What a thread has of its own: registers, signals, credentials, scheduling."""
