"""What Ray Train does otherwise here: its workers take SIGTERM as a notice, and what no retry can mend ends the run.

Ray runs the training function in a thread of the worker's process, and Python lets only the main thread set signal
handlers. What a backend has a worker group execute does run there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.train import UserCallback
from ray.train.torch.config import TorchConfig, _TorchBackend

from pipeline.cluster.stop_notice import catch_sigterm
from pipeline.training.stepper import HopelessError


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


class EndAtOnce(UserCallback):  # type: ignore[misc]
    """Ends a run at the first error that would come again: a damaged shard, wrong settings, steps that are not finite.

    Without it Ray starts the workers anew `max_failures` times, whatever it was that one of them met.
    """

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Raise such an error, which Ray takes for its own and does not try again."""
        for error in worker_exceptions.values():
            if isinstance(error, ValueError | HopelessError):
                raise error
