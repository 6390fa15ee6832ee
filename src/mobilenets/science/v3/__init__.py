"""Reproductions from the V3 paper."""
