"""Enlarging a picture of any size with a trained generator: exact tiles, fast inference."""
