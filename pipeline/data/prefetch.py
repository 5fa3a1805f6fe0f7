"""Copies batches to the device before they are needed."""

import dataclasses
import queue
import threading
from collections.abc import Iterator

import torch

from pipeline.data.stream import Batch

AHEAD = 2


def feed(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches with their tensors on the device.

    For a GPU, a thread pins them and copies them during the computation, two ahead. On a CPU they are passed on as they
    are: the loader workers are ahead already.

    Raises:
        What reading the batches raises, when the consumer reaches that batch.
    """
    return _copied_ahead(batches, device) if device.type == "cuda" else batches


def _copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    ready: queue.Queue[tuple[Batch, torch.cuda.Event] | Exception] = queue.Queue(AHEAD)
    closed = threading.Event()

    def put(item: tuple[Batch, torch.cuda.Event] | Exception) -> None:
        while not closed.is_set():
            try:
                ready.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def copy() -> None:
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        try:
            for batch in batches:
                with torch.cuda.stream(side):
                    moved = to_device(batch, device)
                    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                    event.record(side)
                put((moved, event))
                if closed.is_set():
                    return
        except Exception as error:
            put(error)

    threading.Thread(target=copy, name="feed", daemon=True).start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            batch, event = item
            stream = torch.cuda.current_stream(device)
            stream.wait_event(event)
            for tensor in (batch.images, batch.joints, batch.mask):
                tensor.record_stream(stream)
            yield batch
    finally:
        closed.set()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch with its tensors copied to the device from pinned memory; image ids and cursor stay on the CPU."""
    moved = {
        name: getattr(batch, name).pin_memory().to(device, non_blocking=True) for name in ("images", "joints", "mask")
    }
    return dataclasses.replace(batch, **moved)
