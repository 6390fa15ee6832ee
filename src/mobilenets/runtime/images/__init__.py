"""From an encoded image to the array that a network takes."""
