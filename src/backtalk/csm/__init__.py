"""CSM-1B: text and earlier speech in, frames of Mimi codes out (torch, extra `models`)."""
