"""What a network is: data, no torch."""
