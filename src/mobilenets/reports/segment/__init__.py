"""The report of a segmenter."""
