"""Weights of Keras."""
