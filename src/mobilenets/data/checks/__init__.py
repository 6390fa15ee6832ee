"""What in a dataset would spoil a training or its results."""
