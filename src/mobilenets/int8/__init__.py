"""`mobilenets quantize` without torch: turns a float model and some images into an int8 model, and measures it."""
