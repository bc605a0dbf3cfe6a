"""The LightningModule, and everything around one training."""
