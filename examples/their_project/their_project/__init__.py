"""A package of your own, which srgan_lit knows nothing of."""
