"""From a float model and some images to an int8 model that is measured: what `mobilenets quantize` does, without torch."""
