"""Segmentation after the network: classes of pixels, tiles, scales, drawing."""
