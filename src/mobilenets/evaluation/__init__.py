"""Evaluation: predictions compared with the ground truth."""
