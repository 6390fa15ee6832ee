"""How well a segmenter does."""
