"""What the last validation said."""

import lightning as L


def validation_scores(trainer: L.Trainer) -> dict[str, float]:
    """The means of the last validation, by name."""
    return {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
