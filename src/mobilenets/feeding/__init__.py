"""The torch side of data loading: batches, targets and augmentation for training."""
