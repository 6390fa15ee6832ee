"""Reproductions from the V4 paper."""
