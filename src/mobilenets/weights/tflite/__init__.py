"""Weights of TFLite files."""
