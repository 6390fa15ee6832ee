"""Segmentation after the network: decoding, tiling, several scales, drawing."""
