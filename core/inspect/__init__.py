"""The memory of a layer or of a running process: read, search, compare, write as a core file. Changes nothing."""
