"""Where the files of a layer are: a directory, an archive, or compressed files. Read only."""
