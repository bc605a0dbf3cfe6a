"""SRResNet, the discriminator and VGG: their layers and initial weights. No files, no losses."""
