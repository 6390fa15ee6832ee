"""Build torch modules from a spec's rows."""
