"""The torch side of data: batches, targets and augmentation for training."""
