"""Reproductions from the V2 paper."""
