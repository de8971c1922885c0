"""What trains the miniatures: their corpus and their recipes."""
