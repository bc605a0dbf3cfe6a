"""How fast a training is."""

import time


class Speed:
    """Images per second of training, without the time that validations take."""

    def __init__(self) -> None:
        self._images = 0
        self._started = self._paused = time.perf_counter()

    def start(self) -> None:
        """Start the clock and the count at 0."""
        self._images, self._started = 0, time.perf_counter()

    def count(self, images: int) -> None:
        """Add images that were trained on."""
        self._images += images

    def pause(self) -> None:
        """Stop the clock, while a validation runs."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """Start the clock again."""
        self._started += time.perf_counter() - self._paused

    def read(self) -> float:
        """Images per second since the last reading."""
        speed = self._images / max(1e-9, time.perf_counter() - self._started)
        self.start()
        return speed
