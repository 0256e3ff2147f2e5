"""Tables of items, for models over histories."""
