"""Readers, splits and checks of datasets."""
