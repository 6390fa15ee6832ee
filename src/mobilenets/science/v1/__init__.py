"""Reproductions from the V1 paper."""
