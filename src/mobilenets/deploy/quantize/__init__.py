"""Post-training quantization in NumPy: a float graph and a few calibration images become an int8 graph."""
