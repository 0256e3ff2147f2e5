"""One run on several workers: the batches split among them, the run folder written by the first.

A worker is a process of Ray Train or torchrun. Training sees the others through `workers.Workers` alone.
"""
