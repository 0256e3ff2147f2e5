"""Sweeps: a tuner file's trials, each done once, in a folder from which the same command goes on."""
