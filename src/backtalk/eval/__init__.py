"""How well a system answers: the same questions, ears and scores for every system."""
