"""What can be set? The one tree of all settings, its reference and the search space."""
