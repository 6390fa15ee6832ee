"""The benchmark: each model on each runtime in a process of its own, all of them in turn."""
