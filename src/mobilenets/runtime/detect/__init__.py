"""Detection after the network: boxes from scores and offsets, tiles, drawing."""
