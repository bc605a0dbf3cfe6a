"""Video files, frame by frame: the pictures enlarged; times, sound, subtitles, chapters and titles kept. No torch.

PyAV (FFmpeg's libraries; the extra ``video``) decodes and encodes. A file is opened as one of a few containers and can
name no other file or address, which FFmpeg would open too.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a video's suffix becomes: containers that hold H.264 and its times badly become Matroska.
RESULTS = {
    ".mp4": ".mp4",
    ".m4v": ".mp4",
    ".mov": ".mov",
    ".mkv": ".mkv",
    ".webm": ".webm",
    ".avi": ".mkv",
    ".mpg": ".mkv",
    ".mpeg": ".mkv",
}
# Encoder and options by the result's suffix: hardly distinguishable from what was encoded.
_H264 = ("libx264", {"crf": "15", "preset": "medium"})
_ENCODERS = {".webm": ("libvpx-vp9", {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "2"})}
_SAFELY = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg", "protocol_whitelist": "file"}
_SHORT_SECONDS = 0.25  # that a whole file may end before the length that it states
# Matrices from YCbCr to RGB by their numbers in ITU-T H.273, and what FFmpeg's converter calls them.
_BT709, _BT601 = 1, 6
_MATRICES = {_BT709: 1, 4: 4, 5: 5, _BT601: 5, 7: 7, 9: 9}
_HD_LINES = 720  # from here on players take a video that names none for BT.709
_LIMITED, _FULL = 1, 2  # FFmpeg's ranges: 16 to 235, 0 to 255


def enlarge(
    source: Path,
    target: Path,
    enlarged: "Callable[[NDArray[Any]], NDArray[Any]]",
    *,
    max_pixels: int,
    on_start: Callable[[int], object],
    on_frame: Callable[[], object],
) -> list[str]:
    """Write the video ``source`` to ``target``, enlarged, whole or not at all.

    Args:
        source: its first video stream is enlarged; sound and subtitles are copied as they are, bit for bit.
        target: its suffix, one of the values of ``RESULTS``, says the container.
        enlarged: from an upright frame (H, W, 3), uint8, or uint16 where the video has more than 8 bits, to a larger
            one of the same dtype.
        max_pixels: a frame may have.
        on_start: called with the number of frames, as nearly as the file says; 0 if it does not.
        on_frame: called after each frame.

    Returns:
        The kinds of streams that the result lacks, such as ``data``.

    Raises:
        SRGANError: no video, damaged or cut off, interlaced, transparent or too large; or the container cannot hold
            its sound. The message does not name the file.
    """
    try:
        import av
    except ImportError as error:
        raise SRGANError("videos need PyAV: pip install 'srgan_lit[video]'") from error
    if source.exists() and not source.is_file():
        raise SRGANError("a FIFO, socket or device, and no regular file")
    with _readable(av), av.open(str(source), container_options=_SAFELY, metadata_errors="replace") as container:
        if not container.streams.video:
            raise SRGANError("no video in it")
        video = container.streams.video[0]
        if video.codec_context is None:
            raise SRGANError("its encoding is unknown")
        # Damage is an error, not something to paint over; and what a header claims is judged before memory is taken.
        video.codec_context.options = {"err_detect": "explode", "max_pixels": str(max_pixels)}
        size = video.width, video.height
        if size[0] * size[1] > max_pixels:
            raise SRGANError(f"frames of {size[0]}x{size[1]} pixels are over the limit; raise --max-megapixels")
        seconds = container.duration / av.time_base if container.duration else 0.0
        on_start(video.frames or round(seconds * float(video.average_rate or 0)))
        copied = [each for each in (*container.streams.audio, *container.streams.subtitles) if each.codec_context]
        with atomic_files.replacing(target) as temporary, av.open(str(temporary), "w") as result:
            writer = _Writer(result, video, copied, container, suffix=target.suffix.lower())
            ends = 0.0
            for packet in container.demux(video, *copied):
                if packet.pts is not None and packet.time_base is not None:
                    ends = max(ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is not video:
                    writer.copy(packet)
                    continue
                for frame in packet.decode():
                    writer.add(frame, enlarged)
                    on_frame()
            writer.finish()
            begins = (container.start_time or 0) / av.time_base
            if seconds and ends - begins < seconds - _SHORT_SECONDS:
                raise SRGANError(f"cut off: it ends after {ends - begins:.1f} of {seconds:.1f} seconds")
        kept = {stream.index for stream in (video, *copied)}
        return sorted({stream.type for stream in container.streams if stream.index not in kept})


@contextlib.contextmanager
def _readable(av: Any) -> Iterator[None]:
    """Turn FFmpeg's errors, but for the machine's (a full disk), into SRGANError."""
    av.logging.set_level(None)  # it prints lines of its own
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise SRGANError(f"not a readable video ({error.strerror})") from error
    except UnicodeError as error:  # of names within the file, which PyAV reads as UTF-8
        raise SRGANError(f"not a readable video ({error})") from error


def _interpolation() -> int:
    """Of chroma, which most videos hold at half the resolution: smooth, and rounded rather than cut."""
    from av.video.reformatter import Interpolation

    return int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


class _Writer:
    """The result: one encoded video stream, set up for the first frame, and the copied ones."""

    def __init__(self, result: Any, video: Any, copied: list[Any], container: Any, *, suffix: str) -> None:
        self._result, self._video, self._container = result, video, container
        self._suffix, self._copied = suffix, copied
        self._stream: Any = None
        self._size = (0, 0)
        self._targets: dict[int, Any] = {}
        self._early: list[Any] = []  # packets that came before the first frame

    def _begin(self, pixels: "NDArray[Any]", colours: tuple[int, ...]) -> None:
        import av

        encoder, options = _ENCODERS.get(self._suffix, _H264)
        pixel_format = "yuv420p" if pixels.dtype == "uint8" else "yuv420p10le"
        if pixel_format not in {each.name for each in av.Codec(encoder, "w").video_formats or ()}:
            raise SRGANError(f"{self._suffix[1:]} holds 8 bits here, and this video has more: name a result .mkv")
        stream = self._result.add_stream(encoder, rate=self._video.average_rate, options=options)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = self._video.time_base  # of the input's frames, so that each keeps its exact time
        context.colorspace, context.color_primaries, context.color_trc = colours
        context.color_range = _LIMITED
        if ratio := self._video.sample_aspect_ratio:
            context.sample_aspect_ratio = ratio
        self._stream = stream
        try:
            for each in self._copied:
                self._targets[each.index] = self._result.add_stream_from_template(each)
                self._targets[each.index].metadata.update(each.metadata)
            self._result.metadata.update(self._container.metadata)
            self._result.set_chapters(self._container.chapters())
            self._result.start_encoding()
        except ValueError as error:  # what a container cannot hold; a full disk is an OSError
            names = ", ".join(dict.fromkeys(each.codec_context.name for each in self._copied)) or "this video"
            raise SRGANError(f"{self._suffix[1:]} cannot hold {names}: name a result that ends with .mkv") from error
        early, self._early = self._early, []
        for packet in early:
            self.copy(packet)

    def copy(self, packet: Any) -> None:
        """Copy a packet of sound or subtitles unchanged."""
        if packet.dts is None:  # what ends a stream
            return
        if self._stream is None:
            self._early.append(packet)
            return
        packet.stream = self._targets[packet.stream.index]
        self._result.mux(packet)

    def add(self, frame: Any, enlarged: "Callable[[NDArray[Any]], NDArray[Any]]") -> None:
        """Enlarge a frame and encode it at its time."""
        import av
        import numpy as np

        if frame.is_corrupt:
            raise SRGANError(f"damaged at {frame.time or 0:.1f} seconds")
        if frame.interlaced_frame:
            raise SRGANError("interlaced: every frame is two half pictures; deinterlace it first (ffmpeg -vf bwdif)")
        if frame.format.name.startswith(("yuva", "gbrap", "rgba", "bgra", "argb", "abgr")):
            raise SRGANError("transparent, which the result could not be")
        if self._stream is not None and (frame.width, frame.height) != self._size:
            raise SRGANError(f"its frames change their size at {frame.time or 0:.1f} seconds")
        self._size = frame.width, frame.height
        deep = any(component.bits > 8 for component in frame.format.components)
        matrix = frame.colorspace
        if matrix not in _MATRICES:
            matrix = _BT709 if frame.height >= _HD_LINES else _BT601
        full = frame.color_range == _FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
        rgb, exactly = "rgb48le" if deep else "rgb24", _interpolation()
        pixels = frame.to_ndarray(
            format=rgb,
            src_colorspace=_MATRICES[matrix],
            src_color_range=_FULL if full else _LIMITED,
            interpolation=exactly,
        )
        pixels = enlarged(np.rot90(pixels, frame.rotation // 90))
        if self._stream is None:
            self._begin(pixels, (matrix, frame.color_primaries, frame.color_trc))
        result = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=rgb)
        result = result.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=_MATRICES[matrix],
            dst_color_range=_LIMITED,
            interpolation=exactly,
        )
        result.pts, result.time_base = frame.pts, frame.time_base
        self._result.mux(self._stream.encode(result))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is None:
            raise SRGANError("no frame in it")
        self._result.mux(self._stream.encode(None))
