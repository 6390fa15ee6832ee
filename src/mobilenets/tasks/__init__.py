"""What a network learns: heads, targets, losses."""
