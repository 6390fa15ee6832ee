"""The prediction server: the Open Inference Protocol, plain images, metrics, reloading."""
