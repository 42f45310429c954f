"""FileSet -> Artifact: manifest and content-addressed objects."""
