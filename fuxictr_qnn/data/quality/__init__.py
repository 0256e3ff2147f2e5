"""Whether a dataset is what it should be."""
