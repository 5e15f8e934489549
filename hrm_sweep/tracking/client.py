"""MLflow as the exporter uses it: experiments and runs, by calls that may all be repeated.

Importing this module imports MLflow, which takes seconds: only the exporter's process does. Every
call raises `Unreachable`, `Refused` or `Gone`; the client's own retries, which take minutes, are
off.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from hrm_sweep.compat import mlflow as compat
from hrm_sweep.errors import TrackingError
from hrm_sweep.tracking import moved_store, saved_view, store
from hrm_sweep.tracking.errors import Gone, Refused, translated
from hrm_sweep.tracking.limits import (
    MAX_DATASET_NAME,
    MAX_DIGEST,
    MAX_NAME,
    MAX_PROFILE,
    Names,
    legal_name,
    legal_tags,
    param_text,
    shown,
)
from hrm_sweep.tracking.run_files import RunFiles
from hrm_sweep.tracking.translate import Update

TIMEOUT_SECONDS = 5
RUNS_A_PAGE = 1000
RECORD_TAG = "hrm_sweep.record"
"""Name of the run's record, by which a run is found whose creation was not answered."""
NAMING_TAGS = ("hrm_sweep.study_id", "hrm_sweep.trial", "hrm_sweep.repeat")
"""Tags that name a trial, or one of its repeats."""


KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""So that the UI shows what is there for training, and not for language models."""


class Destination:
    """An experiment on a tracking server or in a database.

    Attributes:
        identity: text that no other experiment has, wherever its server moves to.
    """

    def __init__(
        self, client: MlflowClient, experiment: Experiment, database: Path | None = None
    ) -> None:
        self._client, self.experiment_id = client, experiment.experiment_id
        self.identity = _identity(experiment)
        self._database, self._inode = database, _inode(database)

    @property
    def is_replaced(self) -> bool:
        """Whether the database is another file than was opened, which SQLite does not notice."""
        return _inode(self._database) != self._inode

    def is_still_there(self) -> bool:
        """Return whether the server still has this very experiment."""
        with translated():
            return _identity(self._client.get_experiment(self.experiment_id)) == self.identity

    def open(self, run_id: str) -> MlflowRun:
        """Return the run of that id, without a request."""
        return MlflowRun(self._client, run_id)

    def find(self, record: str) -> MlflowRun | None:
        """Return the run of a record, if there is one.

        Raises:
            Gone: there was one, and it was deleted.
        """
        found = self._runs_of(record)
        if found and found[0].info.lifecycle_stage == "deleted":
            raise Gone(f"the run {found[0].info.run_name} was deleted in MLflow")
        return self.open(found[0].info.run_id) if found else None

    def create(
        self, record: str, *, name: str, start_ms: int, tags: Mapping[str, str]
    ) -> MlflowRun:
        """Create the run of a record; `find` finds it, whatever happens to this call."""
        with translated():
            made = self._client.create_run(
                self.experiment_id,
                start_time=start_ms,
                tags={RECORD_TAG: record, **legal_tags(tags)},
                run_name=shown(name, MAX_NAME),
            )
        return self.open(made.info.run_id)

    def children(self, run_id: str) -> list[Run]:
        """Return the runs whose parent is that run."""
        return self._search(f"tags.`mlflow.parentRunId` = '{run_id}'", ViewType.ACTIVE_ONLY)

    def keep_view(self, study: Mapping[str, Any], run_id: str) -> str:
        """Make a table of a study's trials for the UI.

        Returns:
            Its address below the server's.
        """
        name, value = saved_view.tag_of_view(study, run_id)
        with translated():
            self._client.set_experiment_tag(self.experiment_id, name, value)
        return saved_view.path_of_view(self.experiment_id, run_id)

    def remove_doubles(self, record: str, run_id: str) -> None:
        """Delete other runs of a record: a creation that was given up and came late."""
        for run in self._runs_of(record):
            if run.info.run_id != run_id and run.info.lifecycle_stage == "active":
                with translated():
                    self._client.delete_run(run.info.run_id)

    def supersede(self, run_ids: Collection[str], by: str, tags: Mapping[str, str]) -> None:
        """Delete runs whose record is damaged or gone, and their children; MLflow can restore them.

        The ids come from a folder that may be another user's, so only runs of the same trial go.

        Args:
            by: the run that has the measurements now.
            tags: of that run.
        """
        for run_id in filter(None, run_ids):
            with contextlib.suppress(Gone), translated():
                run = self._client.get_run(run_id)
                if any(run.data.tags.get(name) != tags.get(name) for name in NAMING_TAGS):
                    continue
                self._client.set_tag(run_id, "hrm_sweep.superseded_by", by)
                for each in [*self.children(run_id), run]:
                    if each.info.lifecycle_stage == "active":
                        self._client.delete_run(each.info.run_id)

    def keep_oldest(self, record: str) -> MlflowRun | None:
        """Delete all runs of a record but the oldest, which is the same one for whoever asks."""
        runs = [run for run in self._runs_of(record) if run.info.lifecycle_stage == "active"]
        if not runs:
            return None
        oldest = min(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        self.remove_doubles(record, oldest.info.run_id)
        return MlflowRun(self._client, oldest.info.run_id, oldest.data.params)

    def _runs_of(self, record: str) -> list[Run]:
        """Return all runs of a record, those that were not deleted first."""
        runs = self._search(f"tags.`{RECORD_TAG}` = '{record}'", ViewType.ALL)
        return sorted(runs, key=lambda run: (run.info.lifecycle_stage != "active", run.info.run_id))

    def _search(self, query: str, view: int) -> list[Run]:
        """Return all runs that a query finds, page by page."""
        found: list[Run] = []
        token: str | None = None
        while True:
            with translated():
                page = self._client.search_runs(
                    [self.experiment_id], query, view, RUNS_A_PAGE, page_token=token
                )
            found, token = [*found, *page], page.token
            if not token:
                return found


class MlflowRun:
    """One run. Each call may be repeated with the same arguments, which adds nothing.

    Params, tags and metrics are collected until `send`: a request costs more than its content.

    Args:
        known_params: what MLflow has already, and refuses to change.
    """

    def __init__(self, client: MlflowClient, run_id: str, known_params: Iterable[str] = ()) -> None:
        self._client, self.run_id, self._known_params = client, run_id, set(known_params)
        self._params: list[Param] = []
        self._tags: dict[str, str] = {}
        self._metrics: list[Metric] = []

    def add(self, update: Update) -> None:
        """Collect what some entries of a record add; a dataset is sent at once.

        Long params are cut with a note, and MLflow refuses other values for known ones. A metric
        with the time and step of a known row is dropped by MLflow, so each is there once.
        """
        names = Names()
        params = {names(name): param_text(value) for name, value in update.params.items()}
        new = params.keys() - self._known_params
        self._params += [Param(name, params[name]) for name in params if name in new]
        self.tags(update.tags)
        self._metrics += [Metric(*point) for point in update.metrics]
        for dataset in update.datasets:
            self._log_dataset(dataset)

    def tags(self, values: Mapping[str, str]) -> None:
        """Collect tags."""
        self._tags |= legal_tags(values)

    def remove_tags(self, names: Iterable[str]) -> None:
        """Remove tags at once; one that is not there is no error."""
        for name in names:
            with contextlib.suppress(Refused, Gone), translated():
                self._client.delete_tag(self.run_id, legal_name(name))

    def send(self) -> None:
        """Send what was collected, in one request if it fits."""
        tags = [RunTag(name, value) for name, value in self._tags.items()]
        with translated():
            self._client.log_batch(self.run_id, self._metrics, self._params, tags, synchronous=True)
        self._params, self._tags, self._metrics = [], {}, []

    def log_rank(self, name: str, rank: int, *, step: int) -> None:
        """Send one metric at once."""
        with translated():
            self._client.log_metric(self.run_id, name, rank, step=step, synchronous=True)

    def _log_dataset(self, described: Mapping[str, Any]) -> None:
        dataset = Dataset(
            name=shown(str(described["name"]), MAX_DATASET_NAME),
            digest=str(described["digest"])[:MAX_DIGEST],
            source_type="code",
            source=shown(json.dumps({"data": described["name"]}), MAX_PROFILE),
            profile=shown(json.dumps(dict(described), default=str), MAX_PROFILE),
        )
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        with translated():
            self._client.log_inputs(self.run_id, [used])

    @functools.cached_property
    def files(self) -> RunFiles:
        """The run's files."""
        return RunFiles(self._client, self.run_id)

    def reopen(self) -> None:
        """Mark the run as running again: another attempt begins."""
        with translated():
            self._client.update_run(self.run_id, status="RUNNING")

    def finish(self, status: str, end_ms: int) -> None:
        """Send what was collected and, last, the status and end of the run."""
        if self._params or self._tags or self._metrics:
            self.send()
        with translated():
            self._client.set_terminated(self.run_id, status, end_ms)


def connect(uri: str, experiment: str) -> Destination:
    """Open an experiment; create it, and its database, if there is none.

    Raises:
        TrackingError: the database is of another version, or the experiment was deleted.
        Unreachable: the server does not answer.
    """
    be_patient(TIMEOUT_SECONDS)
    create_database(uri)
    path = store.database_path(uri)
    if path:
        compat.drop_connections(uri)  # they may be to a file that was replaced
    store.check(uri)
    moved_store.follow(uri)
    with translated():
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            found = _create_experiment(client, uri, experiment)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking.experiment={experiment}: was deleted in MLflow; take another name, or run: "
            f"mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return Destination(client, found, path)


def create_database(uri: str) -> None:
    """Create the SQLite database at an address, if it names one and there is none.

    Raises:
        TrackingError: it cannot be created.
    """
    if path := store.database_path(uri):
        with translated():
            store.build(path)


def be_patient(seconds: int) -> None:
    """Set how long a request may take; MLflow reads these variables at each request."""
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(seconds)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("PGCONNECT_TIMEOUT", str(seconds))
    compat.limit_connection_retries()
    compat.log_no_errors_of_databases()


def _create_experiment(client: MlflowClient, uri: str, name: str) -> Experiment:
    path = store.database_path(uri)
    if path is None and not uri.startswith(store.SERVERS):
        path = Path("mlruns/mlflow.db").absolute()  # of a database elsewhere, files stay here
    try:
        # where there is a server, it knows best where files go
        client.create_experiment(
            name, store.artifact_root(path) if path else None, {KIND_TAG: KIND}
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise
    made = client.get_experiment_by_name(name)
    assert made is not None
    return made


def _inode(path: Path | None) -> int | None:
    return path.stat().st_ino if path and path.exists() else None


def _identity(experiment: Experiment) -> str:
    return store.identity_of(experiment.experiment_id, experiment.creation_time)
