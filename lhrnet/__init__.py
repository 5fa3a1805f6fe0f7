"""Lightweight HRNet: the network, and what its outputs mean."""

__version__ = "0.1.0"
