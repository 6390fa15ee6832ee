"""Readers, splits and checks of data sets."""
