"""Which settings are best? Ray Tune over r, CEM variants and more."""
