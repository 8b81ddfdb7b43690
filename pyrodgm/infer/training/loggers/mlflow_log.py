"""Metrics for MLflow."""

from collections.abc import Mapping
from typing import Any

from pyrodgm.extras import needs_extra
from pyrodgm.infer.training.loggers.logger import flat, measured


class MLflowLogger:
    """Logs to a run of MLflow; needs the package ``mlflow`` or ``mlflow-skinny``.

    Args:
        experiment: Name of the experiment, made if it is not there.
        tracking_uri: Where MLflow keeps its runs; by default what ``mlflow.get_tracking_uri`` says.
        run_id: A run to go on with; by default a new one.

    Attributes:
        run_id: The run, once training has begun.
    """

    def __init__(self, experiment: str, tracking_uri: str | None = None, run_id: str | None = None) -> None:
        self.experiment, self.tracking_uri, self.run_id = experiment, tracking_uri, run_id
        self.client: Any = None

    def begin(self, config: Mapping[str, Any], step: int) -> None:
        with needs_extra("mlflow"):
            from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.tracking_uri)
        if self.run_id is None:
            found = self.client.get_experiment_by_name(self.experiment)
            home = self.client.create_experiment(self.experiment) if found is None else found.experiment_id
            self.run_id = self.client.create_run(home).info.run_id
            for name, value in flat(config).items():
                self.client.log_param(self.run_id, name, value)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in measured(metrics).items():
            self.client.log_metric(self.run_id, name, value, step=step)

    def end(self) -> None:
        if self.client is not None and self.run_id is not None:
            self.client.set_terminated(self.run_id)
