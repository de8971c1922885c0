"""Mimi, the codec of Moshi and CSM (arXiv 2410.00037): 24 kHz, 12.5 frames a second."""
