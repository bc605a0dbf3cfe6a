"""How fast a training is."""

import time


class Speed:
    """Images per second of training, without the time that validations take."""

    def __init__(self) -> None:
        self._images = 0
        self._started = self._paused = time.perf_counter()

    def start(self) -> None:
        """Count anew from now."""
        self._images, self._started = 0, time.perf_counter()

    def count(self, images: int) -> None:
        """So many more are trained on."""
        self._images += images

    def pause(self) -> None:
        """A validation begins."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """It has ended."""
        self._started += time.perf_counter() - self._paused

    def read(self) -> float:
        """Images per second since the last reading."""
        speed = self._images / max(1e-9, time.perf_counter() - self._started)
        self.start()
        return speed
