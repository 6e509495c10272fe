"""Seeded training loops in plain torch, the same on two CPU cores and on one GPU.

Networks are small modules of our own; data loading never reads a test split.
"""
