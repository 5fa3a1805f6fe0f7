"""What an evaluation leaves behind: files at a storage URL, and metrics and artifacts in the checkpoint's run."""

import contextlib
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from lhrnet.draw import contact_sheet, draw_people
from lhrnet.person import Person
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.pictures import SHOWN_SCORE
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.storage import store
from pipeline.tracking.mlflow_run import IDENTITY, TrackingConfig, connect, experiment_id

JPEG_QUALITY = 92


def files(evaluation: Evaluation) -> dict[str, bytes]:
    """An evaluation as files by name: figures, detections in COCO's results format, pictures of people found."""
    return {
        "evaluation.json": json.dumps(evaluation.as_dict(), indent=1).encode(),
        "detections.json": json.dumps(evaluation.predictions.detections, separators=(",", ":")).encode(),
        **pictures(evaluation.predictions),
    }


def pictures(predictions: Predictions) -> dict[str, bytes]:
    """JPEGs by name: each picture asked for with its people, and one sheet of all."""
    people = defaultdict(list)
    for detection in predictions.detections:
        people[detection["image_id"]].append(Person.from_coco(detection))
    drawn = {i: draw_people(image, people[i], least_score=SHOWN_SCORE) for i, image in predictions.pictures.items()}
    named = {f"pictures/{i:012d}.jpg": jpeg(image) for i, image in drawn.items()}
    return {"pictures/all.jpg": jpeg(contact_sheet(list(drawn.values()))), **named} if drawn else {}


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """An RGB image as JPEG."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"an image of shape {image.shape} could not be written as JPEG")
    return data.tobytes()


def write(url: str, content: Mapping[str, bytes]) -> None:
    """Put files below a storage URL."""
    for name, data in content.items():
        store.write_bytes(store.join(url, name), data)


class RunRecord:
    """The tracked run of a checkpoint: metrics and artifacts are added to it, its status is left alone.

    A run that is not there is made when the first thing is written to it.

    Args:
        tracking: where the server is.
        config: the config that the checkpoint was trained with; its storage and name say which run it is.
        run_id: the run, where it is known.

    Raises:
        ConnectionError, ValueError: as `pipeline.tracking.mlflow_run.connect`.
        ValueError: the config lacks its name or storage.
    """

    def __init__(self, tracking: TrackingConfig, config: Mapping[str, Any], *, run_id: str = "") -> None:
        lacking = [key for key in ("name", "storage") if key not in config]
        if lacking:
            raise ValueError(
                f"the checkpoint's config has no {' and no '.join(lacking)}, which say whose run it is in MLflow: give "
                "a checkpoint of a training, or set tracking.enabled=false"
            )
        self.mlflow: MlflowClient = connect(tracking)
        self.experiment, self.name = tracking.experiment, str(config["name"])
        self.identity = f"{str(config['storage']).rstrip('/')}/{self.name}".replace("'", "")
        self.known = run_id or self._find()

    def _find(self) -> str:
        with _speaking("no run can be looked up"):
            experiment = self.mlflow.get_experiment_by_name(self.experiment)
            if experiment is None:
                return ""
            same = f"tags.`{IDENTITY}` = '{self.identity}'"
            found = self.mlflow.search_runs([experiment.experiment_id], same, max_results=1)
            return str(found[0].info.run_id) if found else ""

    @property
    def run_id(self) -> str:
        """The run's id. Makes the run where there is none."""
        if not self.known:
            with _speaking(f"it made no run {self.name}"):
                experiment = experiment_id(self.mlflow, self.experiment)
                made = self.mlflow.create_run(experiment, run_name=self.name, tags={IDENTITY: self.identity})
                self.mlflow.set_terminated(made.info.run_id)
            self.known = str(made.info.run_id)
        return self.known

    @property
    def page(self) -> str:
        """The run's page in MLflow's web interface."""
        with _speaking(f"run {self.run_id} cannot be looked up"):
            experiment = self.mlflow.get_run(self.run_id).info.experiment_id
        return f"{str(self.mlflow.tracking_uri).rstrip('/')}/#/experiments/{experiment}/runs/{self.run_id}"

    def tags(self) -> dict[str, str]:
        """The run's tags; none where there is no run."""
        if not self.known:
            return {}
        with _speaking(f"run {self.known} cannot be looked up"):
            return dict(self.mlflow.get_run(self.known).data.tags)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log figures at a training step."""
        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step) for name, value in values.items()]
        with _speaking(f"it took no metrics of run {self.run_id}"):
            self.mlflow.log_batch(self.run_id, metrics=entries)

    def artifacts(self, folder: str, content: Mapping[str, bytes]) -> None:
        """Log files below a folder of the run's artifacts."""
        with tempfile.TemporaryDirectory() as place:
            for name, data in content.items():
                path = Path(place, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self.upload(folder, Path(place))

    def upload(self, folder: str, place: Path) -> None:
        """Log a local folder as a folder of the run's artifacts."""
        with _speaking(f"it took no artifacts of run {self.run_id}"):
            self.mlflow.log_artifacts(self.run_id, str(place), folder)


def home(checkpoint: Checkpoint, otherwise: str) -> str:
    """Where the files of a checkpoint's evaluation belong: its run's folder, or its own where it lies in no run's.

    Args:
        checkpoint: as it was loaded.
        otherwise: the folder for one from the web, which cannot be written to.
    """
    if checkpoint.url.startswith(("http://", "https://")):
        return otherwise
    return checkpoint.url.rpartition("/checkpoints/")[0] or checkpoint.url


def label(config: EvaluateConfig, checkpoint: Checkpoint) -> str:
    """The protocol in names of folders and metrics: with the input size where it is not the network's own."""
    own = config.size in (None, checkpoint.model.side)
    return config.protocol if own else f"{config.protocol}-{config.size}"


def metrics(evaluation: Evaluation, label: str) -> dict[str, float]:
    """Figures by the names they have in MLflow, e.g. `val2017/plain/ap`."""
    prefix = f"{evaluation.data['split']}/{label}"
    latency = evaluation.predictions.latency
    named = {**evaluation.scores.as_dict(), "network_ms": latency.network_ms, "decode_ms": latency.decode_ms}
    return {f"{prefix}/{name}": value for name, value in named.items()}


@contextlib.contextmanager
def _speaking(what: str) -> Iterator[None]:
    """MLflow's errors, and those of its artifact store, as one clear line."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise ConnectionError(f"MLflow failed, {what}: {str(error).splitlines()[0]}") from error
