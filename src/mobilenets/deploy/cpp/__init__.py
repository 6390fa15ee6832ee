"""Export of a graph as a self-contained folder of C++: kernels, packed weights, and a schedule with planned memory."""
