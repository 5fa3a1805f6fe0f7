"""MLflow's errors are one line that says what could not be done, whoever wraps them."""

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
