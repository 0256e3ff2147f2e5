"""Raw files: which they are, and their rows."""
