"""Quantization-aware training (QAT): an int8 graph as a torch module with trainable weights and scales."""
