"""What runs where the model is used: MLflow loads this file, with `lhrnet` beside it and nothing else of the project.

import mlflow

model = mlflow.pyfunc.load_model("models:/lightweight-hrnet@champion")
people = model.predict(["photo.jpg"])[0]
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import torch
from numpy.typing import NDArray

from lhrnet.image_file import read_image
from lhrnet.network.config import ModelConfig
from lhrnet.network.registry import create_model
from lhrnet.person import Person
from lhrnet.predictor import Predictor
from lhrnet.skeleton import Skeleton


class PoseModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
    """Images to people."""

    def load_context(self, context: Any) -> None:
        """Build the network from the version's own files. Takes a GPU where there is one."""
        served = json.loads(Path(context.artifacts["served"]).read_text())
        self.size, self.protocol = served["size"], served["protocol"]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = create_model(ModelConfig.from_fields(served["model"]))
        weights = torch.load(context.artifacts["weights"], map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.network.to(self.device).eval()

    # The result's type is left out: MLflow reads it as a schema and warns of what it cannot express.
    def predict(self, context: Any, model_input: list[str]):  # type: ignore[no-untyped-def]
        """Find people in image files.

        Args:
            context: MLflow's.
            model_input: paths.

        Returns:
            As `find`.

        Raises:
            FileNotFoundError, ValueError: a path leads to no image that can be read.
        """
        return self.find([read_image(Path(path)) for path in model_input])

    def find(self, images: Sequence[NDArray[np.uint8]], protocol: str = "") -> list[list[dict[str, Any]]]:
        """Find people in images, for `model.unwrap_python_model().find(frames)`.

        Args:
            images: (H, W, 3) RGB of uint8 each, of any sizes.
            protocol: plain, flip or multi-scale; left out, the one the version was tested with.

        Returns:
            For each image its people, the surest first: `score`, `box` (x, y, width, height) and `keypoints` by name
            (x, y, score; a score of 0 means not found), in pixels of the image.
        """
        found = Predictor(self.network, self.size, protocol or self.protocol, self.device).many(images)
        return [[_plain(person, self.network.config.keypoints) for person in people] for people in found]


def _plain(person: Person, skeleton: Skeleton) -> dict[str, Any]:
    triplets = [[round(float(value), 3) for value in triplet] for triplet in person.keypoints]
    return {
        "score": person.score,
        "box": [round(value, 3) for value in person.box],
        "keypoints": dict(zip(skeleton.keypoints, triplets, strict=True)),
    }


mlflow.models.set_model(PoseModel())
