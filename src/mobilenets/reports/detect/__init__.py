"""The report of a detector."""
