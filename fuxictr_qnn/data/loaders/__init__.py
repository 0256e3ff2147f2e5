"""Batches: classes for FuxiCTR's `data_loader` hook."""
