"""Layers of the streaming models: weights only, state as a value, one file per idea (torch)."""
