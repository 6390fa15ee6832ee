"""One file per runtime; every export is checked against torch."""
