"""Prediction of many images on many machines: what `mobilenets predict --engine ray` does, without torch."""
