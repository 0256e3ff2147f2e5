"""Public datasets from their homes: sources in order, resumed, checksummed, unpacked, never half there."""
