"""Layers of the streaming models: weights only, state as a value, one file per idea (torch)."""

import os

# Some virtual machines announce AMX and then deny it, and oneDNN's bfloat16 kernels die of that. A
# product with one row, which is all that streaming does, gains nothing from AMX anyway.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
