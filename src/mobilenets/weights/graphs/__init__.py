"""Networks as graphs of operators, from any file format: finds out which MobileNet it is, and reads its weights."""
