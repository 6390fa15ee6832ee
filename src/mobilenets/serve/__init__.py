"""A server of predictions: the Open Inference Protocol, plain images, metrics, reload."""
