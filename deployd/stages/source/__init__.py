"""commit -> SourceTree: a clean checkout from a bare mirror."""
