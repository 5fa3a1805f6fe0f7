"""The browser page that finds people: its server, its runtime and its scripts."""
