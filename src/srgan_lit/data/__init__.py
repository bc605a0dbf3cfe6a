"""From a folder of pictures to batches of LR and HR crops."""
