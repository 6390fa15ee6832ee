"""A graph as a folder of C++ that stands alone: kernels, packed weights, and a schedule in memory that is planned here."""
