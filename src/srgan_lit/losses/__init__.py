"""What the networks minimise: of pixels, of VGG's features, of each other's game."""
