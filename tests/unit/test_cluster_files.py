"""The files in docs/clusters/, as far as they can be checked without a cluster."""

import subprocess

import pytest
import yaml
from paths import ROOT

FILES = ROOT / "docs" / "clusters"


@pytest.mark.parametrize("path", sorted(FILES.glob("*.sbatch")), ids=lambda path: path.name)
def test_a_batch_script_is_one_that_bash_reads(path):
    subprocess.run(["bash", "-n", path], check=True)
    first, *others = path.read_text().splitlines()
    assert first == "#!/bin/bash"
    assert any(line.startswith("#SBATCH --nodes=") for line in others)


def test_the_manifest_has_what_kuberay_requires():
    claim, job = yaml.safe_load_all((FILES / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert workers["groupName"]
    for group in (head, workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["name"]
        assert container["image"]
    (volume,) = head["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "volumes" not in workers["template"]["spec"]


def test_the_manifest_runs_the_command_of_the_page():
    entrypoint = yaml.safe_load_all((FILES / "kuberay.yaml").read_text())
    command = list(entrypoint)[1]["spec"]["entrypoint"]
    assert "hydra/launcher=ray hydra.launcher.address=auto" in command
