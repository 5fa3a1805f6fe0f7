"""Which model is the champion? Packages, model cards, the gate and the registry."""
