"""BuildOutput -> FileSet: the closed set of files that the server needs."""
