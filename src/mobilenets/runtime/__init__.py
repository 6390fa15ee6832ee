"""What happens around a network: NumPy and Pillow, no torch."""
