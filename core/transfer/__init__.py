"""Pages over a wire: page server, page client, migration. Empty for now; the room is kept for it."""
