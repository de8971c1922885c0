"""Speech as one stream of discrete units: clusters of a speech encoder's states."""
