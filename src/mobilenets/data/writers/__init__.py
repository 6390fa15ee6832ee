"""Datasets and predictions, written in the formats of others."""
