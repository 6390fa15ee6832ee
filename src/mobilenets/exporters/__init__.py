"""Exporters, one file per format. Every export is checked against torch."""
