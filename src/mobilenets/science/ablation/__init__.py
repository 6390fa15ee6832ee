"""The papers' ablations, trained: the same networks at a size that one core bears, on the same images, with intervals."""
