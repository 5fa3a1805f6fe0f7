"""How do images, runs and models move through a cluster? One package for each part of the road."""
