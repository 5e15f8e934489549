"""Optuna's dashboard shows a study's pictures with its trials, whoever drew them and when."""

import json
import threading
import urllib.request

import pytest
from studies import PATIENCE_SECONDS

from hrm_sweep.commands.pages import free_port, storage_of
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.storage.dashboard import server


@pytest.mark.parametrize("times", [1, 2])
def test_a_trial_has_the_pictures_of_its_folder(in_studies_folder, tmp_path, times):
    study = resolve_study("repeated")
    picture = study.folder / "1" / "0" / "curve.png"
    picture.write_bytes(b"drawn %d times" % times)
    port = free_port(8090)
    pages = server(storage_of(study), port, study=study.name, artifacts=tmp_path / "artifacts")
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    try:
        assert pages.page == f"http://127.0.0.1:{port}/dashboard/studies/{study_id(port)}"
        told = answer(port, f"/api/studies/{study_id(port)}")
        with_pictures = [trial for trial in json.loads(told)["trials"] if trial["artifacts"]]
        assert [trial["number"] for trial in with_pictures] == [1]
        (artifact,) = with_pictures[0]["artifacts"]
        assert (artifact["filename"], artifact["mimetype"]) == ("0/curve.png", "image/png")
        where = f"{study_id(port)}/{with_pictures[0]['trial_id']}/{artifact['artifact_id']}"
        assert answer(port, f"/artifacts/{where}") == b"drawn %d times" % times
    finally:
        pages.shutdown()
        pages.server_close()
        picture.unlink()


def answer(port: int, path: str) -> bytes:
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS
    ) as response:
        return response.read()


def study_id(port: int) -> int:
    studies = json.loads(answer(port, "/api/studies"))["study_summaries"]
    return next(study["study_id"] for study in studies if study["study_name"] == "repeated")
