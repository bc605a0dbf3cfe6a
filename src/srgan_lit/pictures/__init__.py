"""Picture and video files, pixels, and bicubic resizing. No torch but in ``tensors``."""
