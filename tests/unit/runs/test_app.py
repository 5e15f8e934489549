"""What the engine knows about an app, in a record and back."""

import json

import pytest

from hrm_sweep.hrm.description import APP
from hrm_sweep.runs.app import App, register, runner_of, trusted_pictures

STRANGER = App.of_command(["python", "train.py"])


def test_an_app_comes_back_from_a_record():
    started = json.loads(json.dumps({"app": APP.to_record()}))
    assert App.of_record(started) == APP


def test_fields_of_a_newer_version_are_ignored():
    assert App.of_record({"app": {**STRANGER.to_record(), "colour": "blue"}}) == STRANGER


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        pytest.param(
            {"aside": ["study", "tracking"], "params": {"trainer.epochs": 10}}, APP, id="ours"
        ),
        pytest.param({"aside": ["study", "tracking"], "kind": "study"}, APP, id="a study of ours"),
        pytest.param({"params": {"trainer.epochs": 10}}, APP, id="ours, before `aside`"),
    ],
)
def test_an_old_record_is_of_the_shipped_app(started, expected):
    register(APP)
    assert App.of_record(started) == expected


def test_an_old_record_of_another_app_has_nothing_of_ours():
    register(APP)
    started = {
        "aside": [],
        "params": {"trainer.epochs": 3},
        "description": "    python app.py -m +x=1\n",
    }
    app = App.of_record(started)
    assert (app.command, app.has_commands, app.pictures) == (("python", "app.py"), False, None)


def test_a_script_of_our_name_is_another_app():
    register(APP)
    stranger = App.of_command(["python", "hrm_sweep.py"])
    assert stranger.name != APP.name
    assert runner_of(stranger) is None


def test_a_function_that_only_a_record_names_is_not_trusted():
    received = App(name="received", command=("python", "x.py"), pictures="shutil.rmtree")
    assert trusted_pictures(received) is None


def test_shares_are_shown_as_per_cent_if_the_app_names_them():
    app = App(name="a", command=(), shares=("*/accuracy",))
    assert app.metrics.value("val/accuracy", 0.5) == "50.0 %"
    assert app.metrics.value("val/loss", 0.5) == "0.5"
    assert STRANGER.metrics.value("val/accuracy", 0.5) == "0.5"
