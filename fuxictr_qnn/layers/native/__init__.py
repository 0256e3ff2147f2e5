"""Loops in C for the CPU: compiled on first use, each with an equal in NumPy and torch."""
