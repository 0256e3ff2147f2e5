"""Simulated click logs with known click probabilities."""
