"""Pages: one module for each, its blueprint called `bp`."""
