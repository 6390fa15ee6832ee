"""Reproductions of the papers' figures, tables and claims: each is computed and compared with the printed values."""
