"""Smaller or better Keras networks, distilled from ones you already trust."""

__version__ = "0.1.0"
