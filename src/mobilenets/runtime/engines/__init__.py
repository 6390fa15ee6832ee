"""Engines run a network on a batch: one module per runtime."""
