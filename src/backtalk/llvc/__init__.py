"""LLVC: one voice in, another out, 14 ms later, on one processor core (arXiv 2311.00873).

Converting needs no torch: `graph.py` writes the network as an ONNX graph. `network.py` is the same
in torch, for training and for checking the graph.
"""
