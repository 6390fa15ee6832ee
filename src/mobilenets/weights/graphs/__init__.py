"""A network as a graph of operators, whatever file it came from: which MobileNet it is, and its weights."""
