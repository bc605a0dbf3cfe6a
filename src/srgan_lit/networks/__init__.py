"""SRResNet, the discriminators and VGG: their layers and initial weights. No files, no losses."""
