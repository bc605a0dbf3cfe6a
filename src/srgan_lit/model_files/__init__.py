"""Generator files, other projects' files, VGG's weights: reading and writing, never running code."""
