"""What is in memory, of a layer or of a living process: read, search, compare, write as a core file. Changes nothing."""
