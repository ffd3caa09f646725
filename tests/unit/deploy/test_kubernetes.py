"""The manifests, against Kubernetes' schemas and against what the daemon needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import which

import kubernetes_validate
import pytest
import yaml

from reconfigure_daemon.settings import load_settings

PROJECT = Path(__file__).parents[3]
FOLDER = PROJECT / "deploy/kubernetes"
VERSIONS = ("1.28", "1.32")


def manifests() -> list[dict]:
    """Every object of the folder, as written."""
    files = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [document for name in files for document in yaml.safe_load_all((FOLDER / name).read_text())]


def of_kind(kind: str) -> dict:
    return next(document for document in manifests() if document["kind"] == kind)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_kubernetes_knows_every_field(manifest: dict, version: str):
    """Strictly: a misspelt field would be refused. A PodMonitor is Prometheus' own kind and judged below."""
    if manifest["kind"] != "PodMonitor":
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.skipif(which("kubectl") is None, reason="kubectl not found")
def test_kustomize_builds_them():
    """With the settings as a ConfigMap that the pod mounts."""
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    (settings,) = [each["metadata"]["name"] for each in built if each["kind"] == "ConfigMap"]
    (pod,) = [each["spec"]["template"]["spec"] for each in built if each["kind"] == "StatefulSet"]
    assert settings in [volume.get("configMap", {}).get("name") for volume in pod["volumes"]]


def test_streams_are_finished_before_a_pod_is_killed():
    """The grace period covers the wait before the drain, the drain, and the end of processes."""
    pod = of_kind("StatefulSet")["spec"]["template"]["spec"]
    wait_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    drain_s = load_settings(FOLDER / "config.yaml", {}).engine.drain_timeout_s
    assert pod["terminationGracePeriodSeconds"] >= wait_s + drain_s + 30


def test_probes_ask_paths_that_need_no_token():
    """Each asks the control API on a port that the pod names."""
    container = of_kind("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    assert {ports[probe["port"]] for probe in probes.values()} == {9400}


def test_the_pods_settings_are_valid(tmp_path: Path):
    """With the pod's own variables; its token, group-readable as Kubernetes mounts it, is accepted."""
    container = of_kind("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    environ = {each["name"]: each["value"].replace("/run/credentials", str(tmp_path)) for each in container["env"]}
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "token").chmod(0o440)
    settings = load_settings(FOLDER / "config.yaml", environ)
    assert (settings.engine.host, settings.control_api.host) == ("0.0.0.0", "0.0.0.0")


def test_the_pod_has_no_rights_that_it_does_not_need():
    """No root, no capability, nothing writable but its volumes, no service account."""
    pod = of_kind("StatefulSet")["spec"]["template"]["spec"]
    container = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert (container["readOnlyRootFilesystem"], container["capabilities"]["drop"]) == (True, ["ALL"])
    image_user = re.findall(r"^USER (\d+):", (PROJECT / "deploy/container/Dockerfile").read_text(), re.MULTILINE)[-1]
    assert pod["securityContext"]["runAsUser"] == int(image_user)


def test_prometheus_scrapes_ports_that_the_pod_has_with_its_token():
    """The monitor's fields are the operator's; names match the pod's."""
    monitor, stateful = of_kind("PodMonitor")["spec"], of_kind("StatefulSet")["spec"]
    ports = {port["name"] for port in stateful["template"]["spec"]["containers"][0]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports
    assert monitor["selector"]["matchLabels"].items() <= stateful["template"]["metadata"]["labels"].items()
    control = next(each for each in monitor["podMetricsEndpoints"] if each["port"] == "control")
    assert control["authorization"]["credentials"] == {"name": "reconfigure-token", "key": "token"}


def test_the_rules_find_the_jobs_that_the_monitor_names():
    """`up{job="reconfigure"}` of the alerts would match nothing under the operator's own name for a job."""
    prometheus = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {each["job_name"] for each in prometheus["scrape_configs"]}
    endpoints = of_kind("PodMonitor")["spec"]["podMetricsEndpoints"]
    named = {
        endpoint["port"]: label["replacement"]
        for endpoint in endpoints
        for label in endpoint["relabelings"]
        if label["targetLabel"] == "job"
    }
    assert named == {"control": "reconfigure", "openai": "vllm"}
    assert set(named.values()) == jobs
