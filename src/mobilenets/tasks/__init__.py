"""Heads, training targets and losses of each task."""
