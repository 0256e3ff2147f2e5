"""From raw files to an encoded dataset."""
