"""The papers' ablations, trained at a size that one core can handle, on the same images, with confidence intervals."""
