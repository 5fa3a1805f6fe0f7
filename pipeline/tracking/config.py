"""What can be set about tracking. Reading a config takes this file, and so no MLflow."""

from pydantic.dataclasses import dataclass as section

from pipeline import SECTION


@section(frozen=True, kw_only=True, config=SECTION)
class TrackingConfig:
    """Where runs are tracked."""

    enabled: bool = True
    """False: nothing is tracked and no server is needed."""
    uri: str = ""
    """The MLflow server; empty: MLFLOW_TRACKING_URI of the environment."""
    experiment: str = "lightweight-hrnet"
    """MLflow's experiment that the runs belong to."""
    spool: str = ""
    """Local folder in which metrics wait until the server has them; empty: one of this user's own, in /tmp or below
    $XDG_STATE_HOME."""
