"""No password gets through; what is no password stays readable."""

from __future__ import annotations

import time

import pytest

from hrm_sweep.storage.database import shown
from hrm_sweep.system.redact import redacted, redacted_tree

CANARY = "c4n4ry-Sesame"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"postgresql://me:{CANARY}@db/mlflow", id="URI"),
        pytest.param(f"postgresql+psycopg://me:{CANARY}@db:5432/mlflow?sslmode=on", id="driver"),
        pytest.param(f"https://:{CANARY}@host/", id="no user"),
        pytest.param(f"https://{CANARY}@host/", id="token for a user"),
        pytest.param(f"mysql://me:p@{CANARY}/@h/db", id="at and slash in the password"),
        pytest.param(f"postgresql://h/db?user=me&password={CANARY}&x=1", id="query"),
        pytest.param(f"host=h password={CANARY} dbname=d", id="libpq words"),
        pytest.param(f"{{'password': '{CANARY}', 'port': 5}}", id="repr of a dict"),
        pytest.param(f'{{"api_key": "{CANARY}"}}', id="JSON"),
        pytest.param(f"study.storage.PASSWORD={CANARY}", id="override"),
        pytest.param(f'password: "with, {CANARY} it\'s"', id="commas, blanks and quotes in quotes"),
        pytest.param(f"password='{CANARY}", id="a quote that does not end"),
        pytest.param(f"PGPASSWORD={CANARY} psql", id="PGPASSWORD"),
        pytest.param(f"SSHPASSWORD={CANARY}", id="a variable of any program"),
        pytest.param(f"HF_TOKEN={CANARY} python train.py", id="a variable with a token"),
        pytest.param(f"GITHUB_TOKEN: '{CANARY}'", id="a variable with a token, in YAML"),
        pytest.param(f"token: {CANARY}", id="token"),
        pytest.param(f'{{"token": "{CANARY}"}}', id="token in JSON"),
        pytest.param(f"hub.token={CANARY}", id="token of a config"),
        pytest.param(f"data.hf_token={CANARY}", id="token of a known service"),
        pytest.param(f"Authorization: Bearer {CANARY}", id="bearer"),
        pytest.param(f"{{'Authorization': 'Basic {CANARY}'}}", id="basic authorization"),
        pytest.param(f"curl -u me:{CANARY} http://h", id="curl -u"),
        pytest.param(f"curl --user 'me:{CANARY}' http://h", id="curl --user"),
        pytest.param(f"tool --password {CANARY} --force", id="--password"),
        pytest.param(f"tool --password={CANARY}", id="--password="),
        pytest.param(f"gpg --passphrase '{CANARY} {CANARY}' x", id="--passphrase"),
        pytest.param(f"passphrase: {CANARY}", id="passphrase"),
        pytest.param(f"tool --api-key {CANARY}", id="--api-key"),
        pytest.param(f"https://b.s3.amazonaws.com/k?X-Amz-Signature={CANARY}&x=1", id="S3"),
        pytest.param(f"https://h/k?a=1&X-Amz-Security-Token={CANARY}", id="S3, temporary"),
        pytest.param(f"https://storage.googleapis.com/b/o?X-Goog-Signature={CANARY}", id="GCS"),
        pytest.param(f"https://h.blob.core.windows.net/c?sv=2024&sig={CANARY}", id="Azure"),
        pytest.param(
            f"Error: API request to http://me:{CANARY}@h:5000/api failed; http://me:{CANARY}@h too",
            id="twice in a message",
        ),
    ],
)
def test_a_secret_is_masked(text):
    assert CANARY not in redacted(text)
    assert "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("http://127.0.0.1:5000/#/experiments/1?search=a@b", id="port"),
        pytest.param("http://localhost:5000", id="port at the end"),
        pytest.param("sqlite:////home/me/mlruns/mlflow.db", id="SQLite"),
        pytest.param("postgresql://me@host/db", id="user without password"),
        pytest.param("model.pad_token=0 data.num_tokens=12", id="tokens of a model"),
        pytest.param("eval/token_accuracy: 0.5", id="metric"),
        pytest.param("token=12345678 token: 0.125", id="a number"),
        pytest.param("docker run -u 1000:1000 image", id="user and group"),
        pytest.param("tool --password --force", id="an option that asks"),
        pytest.param("python -u train.py", id="unbuffered"),
        pytest.param("http://h/search?signal=loss&design=a", id="parameters"),
    ],
)
def test_what_is_no_secret_stays(text):
    assert redacted(text) == text


def test_the_rest_of_a_uri_stays_readable():
    assert redacted("postgresql://me:pw@db:5432/runs") == "postgresql://me:***@db:5432/runs"


def test_the_password_in_the_environment_is_masked_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", CANARY)
    assert CANARY not in redacted(f"ValueError: {CANARY!r} is no number")


@pytest.mark.parametrize(
    "name",
    ["MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "DB_PASS"],
)
def test_a_token_in_the_environment_is_masked_wherever_it_stands(monkeypatch, name):
    monkeypatch.setenv(name, CANARY)
    assert redacted(f"refused {CANARY!r}") == "refused '***'"


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "a://b:",
        "-u a:",
        "--password ",
        "TOKEN",
        "?sig",
        "Bearer ",
        "password=",
        "password",
        "'",
        "http://x@",
    ],
)
def test_long_texts_cost_no_more_than_their_length(text):
    text = text.replace("_", " ")
    seconds = []
    for length in (20_000, 200_000):
        begin = time.process_time()
        redacted(text * (length // len(text)))
        seconds.append(time.process_time() - begin)
    assert seconds[1] < 40 * seconds[0] + 0.1, "a text ten times as long"


def test_a_tree_is_masked_by_its_keys_and_in_its_strings():
    tree = {
        "study.storage": f"postgresql://me:{CANARY}@h/d",
        "db.password": CANARY,
        "hub": {"token": CANARY, "pad_token": "<padding>", "HF_TOKEN": CANARY},
        "token": 5,
        "db": {"pwd": 12345678, "api_key": [CANARY], "secret": {"name": "here"}, "passwd": True},
        "best": {"secret": 0.5},
        "lr": 0.001,
        "lines": [f"password={CANARY}", None, True],
    }
    assert redacted_tree(tree) == {
        "study.storage": "postgresql://me:***@h/d",
        "db.password": "***",
        "hub": {"token": "***", "pad_token": "<padding>", "HF_TOKEN": "***"},
        "token": 5,
        "db": {"pwd": "***", "api_key": "***", "secret": {"name": "here"}, "passwd": True},
        "best": {"secret": 0.5},
        "lr": 0.001,
        "lines": ["password=***", None, True],
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            f"postgresql://h/db?user=me&password={CANARY}&sslmode=require",
            "postgresql://h/db?sslmode=require&user=me",
            id="in the query",
        ),
        pytest.param(
            f"postgresql://me:{CANARY}@h/db?sslpassword={CANARY}",
            "postgresql://me:***@h/db",
            id="both",
        ),
        pytest.param("sqlite:///multirun/optuna.db", "sqlite:///multirun/optuna.db", id="SQLite"),
    ],
)
def test_a_storage_is_shown_without_its_password(url, expected):
    assert shown(url) == expected
