"""Results of many runs: statistics, tables, plots, and the published figures beside them.

Stands on run folders alone: nothing here imports torch.
"""
