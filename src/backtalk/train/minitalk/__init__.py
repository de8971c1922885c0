"""MiniTalk: a small world of spoken questions and answers that miniatures can learn whole."""
