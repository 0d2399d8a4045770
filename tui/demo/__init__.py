"""The bundled program: an incremental dump and a rewind that a stranger sees within a minute."""
