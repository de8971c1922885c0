"""Codecs: waveform to codes and back, streaming."""
