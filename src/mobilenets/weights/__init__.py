"""Importers for other libraries' weights, and the catalog of public weights."""
