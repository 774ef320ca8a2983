"""Frozen values, events, errors and ports. Imports nothing of ours."""
