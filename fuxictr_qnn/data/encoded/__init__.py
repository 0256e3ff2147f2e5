"""Datasets that somebody else has encoded."""
