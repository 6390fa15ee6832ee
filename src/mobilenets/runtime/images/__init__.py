"""From an encoded image to the array a network takes."""
