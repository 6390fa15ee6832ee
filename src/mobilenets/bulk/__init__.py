"""Bulk prediction on many machines, as in `mobilenets predict --engine ray`, without torch."""
