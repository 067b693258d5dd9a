"""How views are made of images: one module for each kind."""
