"""Importers and the catalogue of public weights."""
