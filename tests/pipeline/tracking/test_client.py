"""MLflow's errors are one line that says what could not be done, whoever wraps them."""

import os
import subprocess
import sys

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from pipeline.tracking.client import TrackingError, mlflow_errors


def test_an_error_names_what_could_not_be_done_why_and_what_to_do() -> None:
    with pytest.raises(TrackingError) as failed, mlflow_errors("create run a", "try again"):
        raise MlflowException("no room\nand a long trace", PERMISSION_DENIED)
    assert str(failed.value) == "MLflow could not create run a: no room; try again"
    assert failed.value.status == 403


def test_an_artifact_stores_own_error_reads_the_same() -> None:
    with pytest.raises(TrackingError) as failed, mlflow_errors("store artifacts"):
        raise PermissionError(13, "denied")
    assert str(failed.value) == "MLflow could not store artifacts: [Errno 13] denied"
    assert failed.value.status == 0


def test_an_error_is_told_once_by_who_knows_most_of_it() -> None:
    with pytest.raises(TrackingError) as failed, mlflow_errors("promote"), mlflow_errors("read version 3"):
        raise MlflowException("away")
    assert str(failed.value) == "MLflow could not read version 3: away"


def test_what_is_no_error_of_mlflow_passes() -> None:
    with pytest.raises(ValueError, match="no version 9"), mlflow_errors("read version 9"):
        raise ValueError("no version 9")


@pytest.mark.parametrize("module", ["pipeline.checkpoints.trained_network", "pipeline.release.package"])
def test_mlflow_shows_no_bar_of_its_own_whichever_part_of_ours_is_used(module: str) -> None:
    script = (
        f"import {module}\n"
        "from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR as bar\n"
        "print(bar.get())"
    )
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
