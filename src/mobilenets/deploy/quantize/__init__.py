"""From a graph in floats to one in 8-bit integers, with a few images: post-training quantization, in NumPy."""
