"""Units to speech: a HiFi-GAN that reads units, and knows how long each of them lasts."""
