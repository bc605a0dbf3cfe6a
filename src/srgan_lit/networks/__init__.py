"""SRResNet, the discriminator and VGG: layers and their weights' start. No files, no losses."""
