"""JSON routes: one module for each resource, its blueprint called `bp`."""
