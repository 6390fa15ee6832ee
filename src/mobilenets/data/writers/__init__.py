"""Writes datasets and predictions in common formats."""
