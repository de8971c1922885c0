"""Pairs to learn voice conversion from: what is heard, and the same as the target would say it."""
