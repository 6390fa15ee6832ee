"""Inference and everything around it: preprocessing, engines and decoding, with NumPy and Pillow and without torch."""
