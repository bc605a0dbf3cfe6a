"""Pixel losses, the perceptual loss and the adversarial losses."""
