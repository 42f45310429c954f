"""SourceTree -> BuildOutput: the app's own build, in a clean environment."""
