"""Runs on disk, read back without torch: their folders, whether these can be trusted, and what they tell."""
