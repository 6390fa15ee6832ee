"""Quantization-aware training: an int8 graph as a torch module whose weights and scales learn."""
