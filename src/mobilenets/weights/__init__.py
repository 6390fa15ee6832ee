"""Importers and the catalog of public weights."""
