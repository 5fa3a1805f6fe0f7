"""Drawn frames to one MPEG-4 video, which is complete under its name or not there at all."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from lhrnet.image_file import Image
from pipeline.storage import store
from pipeline.storage.atomic import aside_folder


class VideoWriter:
    """Use as a context manager. Nothing is written where no frame was added, or the block ends in an error.

    Args:
        url: where the video goes, at any storage URL; ends in .mp4.
        rate: frames a second.
    """

    def __init__(self, url: str, rate: float) -> None:
        self.url, self.rate = url, rate
        self._frames = 0
        self._held: cv2.typing.MatLike | None = None
        self._aside = Path()
        self._writer: cv2.VideoWriter | None = None
        self._stack = ExitStack()

    def add(self, image: Image, *, at: float | None = None) -> None:
        """Add a frame, of the first one's size.

        Args:
            image: (H, W, 3) RGB.
            at: seconds after the first frame at which it was taken; the one before is repeated up to that time, and a
                frame that comes before the next is due is left out. None: it follows the one before. A camera's frames
                come more slowly than its nominal rate, and some films' unevenly.

        Raises:
            IsADirectoryError: there is a folder of the video's name.
            ValueError: MPEG-4 has no frames of that size.
        """
        writer = self._writer or self._open(image.shape[1], image.shape[0])
        frame = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        place = self._frames if at is None else round(at * self.rate)
        while self._frames <= place:
            writer.write(frame if self._frames == place or self._held is None else self._held)
            self._frames += 1
        self._held = frame

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        if store.is_local(self.url):
            path = store.local_path(self.url)
            if path.is_dir():
                raise IsADirectoryError(f"the video cannot be written to {path}: a folder lies there; move it away")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._aside = self._stack.enter_context(aside_folder(path))
        else:
            self._aside = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._aside / "film.mp4"), code, self.rate, (width, height))
        if not self._writer.isOpened():
            raise ValueError(f"no MPEG-4 video of {width}x{height} can be written; leave the drawing out (--no-draw)")
        return self._writer

    def _finish(self) -> None:
        """Check that the file has every frame: OpenCV's writer does not report a full disk."""
        file = self._aside / "film.mp4"
        written = cv2.VideoCapture(str(file))
        frames = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
        written.release()
        if frames != self._frames:
            raise OSError(f"{self.url}: only {frames} of {self._frames} frames could be written; is the disk full?")
        if store.is_local(self.url):
            file.replace(store.local_path(self.url))
        else:
            store.put_file(file, self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Move the video to its name, or remove it."""
        with self._stack:
            if self._writer is None:
                return
            self._writer.release()
            if kind is None:
                self._finish()
