"""Rows to modules."""
