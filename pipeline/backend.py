"""Ray Train's torch backend, with workers that take SIGTERM as a notice.

Ray runs the training function in a thread of the worker's process, and Python lets only the main thread set signal
handlers. What a backend has a worker group execute does run there.
"""

from dataclasses import dataclass
from typing import Any

from ray.train.torch.config import TorchConfig, _TorchBackend

from pipeline.notice import catch_sigterm


class _NoticingBackend(_TorchBackend):  # type: ignore[misc]
    def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
        super().on_training_start(worker_group, backend_config)
        worker_group.execute(catch_sigterm)


@dataclass
class NoticingTorchConfig(TorchConfig):  # type: ignore[misc]
    """As Ray's TorchConfig; SIGTERM to a worker makes all workers save at the next step and leave."""

    @property
    def backend_cls(self) -> type[_NoticingBackend]:
        """The backend's class."""
        return _NoticingBackend
