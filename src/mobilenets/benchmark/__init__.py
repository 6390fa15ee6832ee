"""The benchmark: runs each model on each runtime in a separate process, interleaved."""
