"""Descriptions of networks as plain data, without torch."""
