"""Checks for problems in a dataset that would spoil training or its metrics."""
