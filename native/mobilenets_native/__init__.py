"""The native engine of mobilenets, as a module. Use it through `mobilenets.Predictor.open(path, engine="native")`."""

from mobilenets_native._engine import Engine, GraphError

__all__ = ["Engine", "GraphError"]
