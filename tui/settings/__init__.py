"""What a user may set, and where each setting is from."""
