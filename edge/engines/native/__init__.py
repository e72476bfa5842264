"""The native engine: sparse training kernels in C, and the planning of a step around them."""
