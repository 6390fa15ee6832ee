"""Detection after the network: decoding boxes from scores and offsets, tiling, drawing."""
