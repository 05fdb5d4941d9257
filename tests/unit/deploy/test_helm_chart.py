"""The Helm chart's objects are valid and closed, connected as they must be, and set what the programs know."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import kubernetes_validate
import pytest
import yaml

import client_proxy.__main__
import directory_server.__main__
import file_server.__main__
from tests import ROOT
from tests.helm_chart import CHART, DEV, NAMESPACE, PRODUCTION, RELEASE, needs_helm, pods, rendered, run_helm, template

pytestmark = needs_helm

VALUES = {
    "defaults": (),
    "dev": ("--values", str(DEV)),
    "production": ("--values", str(PRODUCTION)),
}
MAINS = {
    "directory": directory_server.__main__.main,
    "file-server": file_server.__main__.main,
    "proxy": client_proxy.__main__.main,
}
PORTS = {"directory": {5050, 5000, 5100}, "file-server": {5060}, "proxy": {5000}}


@pytest.fixture(params=VALUES.values(), ids=VALUES.keys())
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(*request.param)


def _of(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def _containers(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for role, pod in pods(objects).items():
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            yield role, container


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_lint_has_no_complaint(values: tuple[str, ...]) -> None:
    """`helm lint --strict` accepts the chart with each values file."""
    ended = run_helm("lint", str(CHART), "--strict", "--kube-version", "1.35.0", *values)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("version", ["1.29.0", "1.37.0"])
def test_each_object_is_valid(objects: list[dict[str, Any]], version: str) -> None:
    """By the schemas of Kubernetes, in which every member must be known."""
    assert len(objects) >= 20
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


def test_each_container_is_closed(objects: list[dict[str, Any]]) -> None:
    """As the Pod Security Standard `restricted` demands, with a read-only root file system and bounds."""
    found = list(_containers(objects))
    assert len(found) == 7
    for role, container in found:
        name = f"{role}/{container['name']}"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        resources = container["resources"]
        assert (resources["requests"].keys(), resources["limits"].keys()) == ({"cpu", "memory"}, {"memory"}), name
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    for role, pod in pods(objects).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, role
        assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2])), role
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, role
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), role


def test_only_what_decides_who_joins_may_call_kubernetes(objects: list[dict[str, Any]]) -> None:
    """No pod has a token of its account, except one container, and its account may do three things."""
    accounts = _of(objects, "ServiceAccount")
    assert {pod["automountServiceAccountToken"] for pod in pods(objects).values()} == {False}
    assert {one["automountServiceAccountToken"] for one in accounts.values()} == {False}
    with_token = [
        f"{role}/{container['name']}"
        for role, container in _containers(objects)
        if "kubernetes" in {mount["name"] for mount in container["volumeMounts"]}
    ]
    assert with_token == ["directory/invitations"]
    for role, pod in pods(objects).items():
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                token = source.get("serviceAccountToken", {"audience": "lockstep-join"})
                assert role == "directory" or token["audience"] == "lockstep-join", role
    (role_rules,) = (one["rules"] for one in _of(objects, "Role").values())
    (cluster_rules,) = (one["rules"] for one in _of(objects, "ClusterRole").values())
    assert role_rules == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [f"{RELEASE}-ca"], "verbs": ["patch"]},
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "resourceNames": [f"{RELEASE}-proxy"], "verbs": ["get"]},
    ]
    assert cluster_rules == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    bindings = [*_of(objects, "RoleBinding").values(), *_of(objects, "ClusterRoleBinding").values()]
    subjects = [subject["name"] for binding in bindings for subject in binding["subjects"]]
    assert subjects == [f"{RELEASE}-directory"] * 2


def test_each_set_has_a_budget_and_a_service(objects: list[dict[str, Any]]) -> None:
    """Drained nodes take at most one pod of a role at a time, and each pod has a name."""
    services = _of(objects, "Service")
    budgets = _of(objects, "PodDisruptionBudget")
    sets = _of(objects, "StatefulSet")
    assert sorted(sets) == sorted(budgets) == [f"{RELEASE}-{role}" for role in ("directory", "file-server", "proxy")]
    for name, one in sets.items():
        selector = one["spec"]["selector"]["matchLabels"]
        assert selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        assert budgets[name]["spec"]["selector"]["matchLabels"] == selector
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        service = services[one["spec"]["serviceName"]]["spec"]
        assert (service["clusterIP"], service["selector"]) == ("None", selector)
    people = services[RELEASE]["spec"]
    assert people["selector"] == sets[f"{RELEASE}-proxy"]["spec"]["selector"]["matchLabels"]


def test_the_network_is_open_for_what_must_talk(objects: list[dict[str, Any]]) -> None:
    """Each role's ports are open to those that call them and to nobody else; the proxies' are for people."""
    policies = _of(objects, "NetworkPolicy")
    sets = _of(objects, "StatefulSet")
    open_to: dict[str, dict[str, set[int]]] = {}
    calls: dict[str, dict[str, set[int]]] = {}
    for name, one in policies.items():
        spec = one["spec"]
        assert spec["podSelector"]["matchLabels"] == sets[name]["spec"]["selector"]["matchLabels"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        role = name.removeprefix(f"{RELEASE}-")
        open_to[role] = _peers(spec["ingress"], "from")
        calls[role] = _peers(spec["egress"], "to")
    members = {role: PORTS[role] for role in ("directory", "file-server")}
    assert open_to == {
        "directory": {"file-server": PORTS["directory"], "proxy": PORTS["directory"]},
        "file-server": {"file-server": PORTS["file-server"], "proxy": PORTS["file-server"]},
        "proxy": {"anybody": PORTS["proxy"]},
    }
    assert calls == {
        "directory": {"kube-system": {53}, "anybody": {443, 6443}},
        "file-server": {"kube-system": {53}, **members},
        "proxy": {"kube-system": {53}, **members},
    }


def _peers(rules: list[dict[str, Any]], side: str) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for rule in rules:
        for peer in rule.get(side, [{}]):
            labels = next(iter(peer.values()), {}).get("matchLabels", {})
            name = labels.get("app.kubernetes.io/component") or labels.get("kubernetes.io/metadata.name") or "anybody"
            found.setdefault(name, set()).update(port["port"] for port in rule["ports"])
    return found


def test_the_containers_ports_are_the_programs(objects: list[dict[str, Any]]) -> None:
    """What a pod declares is what its programs listen on by default, and what its service leads to."""
    services = _of(objects, "Service")
    for role, pod in pods(objects).items():
        declared = {port["containerPort"] for container in pod["containers"] for port in container["ports"]}
        assert declared == PORTS[role]
        assert {port["port"] for port in services[f"{RELEASE}-{role}"]["spec"]["ports"]} == PORTS[role]
    for _, container in _containers(objects):
        if container.get("args", [""])[0] == "serve":
            (port,) = container["ports"]
            assert _settings(container)["port"] == port["containerPort"]


def _settings(container: dict[str, Any]) -> dict[str, Any]:
    """What the program makes of a container's arguments and variables, by its own parser."""
    _, role, *arguments = container["args"]
    environment = {"PATH": os.environ["PATH"]}
    for one in container["env"]:
        value = one.get("value", "given-by-kubernetes")
        environment[one["name"]] = __file__ if value.startswith("/run/") else value  # a mounted file must exist
    with mock.patch.dict(os.environ, environment, clear=True):
        context = MAINS[role].make_context(role, arguments)
    known = {option.envvar or f"{context.auto_envvar_prefix}_{option.name}".upper() for option in MAINS[role].params}
    unknown = {name for name in environment if name.startswith("LOCKSTEP_")} - known
    assert unknown == set(), container["name"]
    return context.params


def test_the_programs_understand_their_arguments_and_variables(objects: list[dict[str, Any]]) -> None:
    """Each option and variable is one of the program's own, with a value that it accepts."""
    found = {container["name"]: _settings(container) for _, container in _containers(objects) if "args" in container}
    assert found.keys() == {"directory", "gate", "file-server", "proxy"}
    address = f"https://{RELEASE}-directory.{NAMESPACE}.svc:5050"
    assert (
        found["directory"]["advertise"] == found["proxy"]["directory"] == found["file-server"]["directory"] == address
    )
    assert (found["directory"]["copies"], found["gate"]["id"]) == (2, "gate")
    assert found["gate"]["name"] == (f"{RELEASE}-directory.{NAMESPACE}.svc",)


def test_the_probes_and_the_joining_run_what_the_image_has(objects: list[dict[str, Any]]) -> None:
    """Every file of /opt/lockstep that a container runs is copied there by the Dockerfile."""
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    (copied,) = re.findall(r"&& cp (.+) /opt/lockstep/$", dockerfile, re.MULTILINE)
    image = {f"/opt/lockstep/{Path(name).name}" for name in copied.split()}
    used = set()
    for _, container in _containers(objects):
        commands = [container.get("command", [])]
        commands += [container.get(f"{one}Probe", {}).get("exec", {}).get("command", []) for one in PROBES]
        used |= {word for words in commands for word in words if word.startswith("/opt/")}
        if container.get("args"):
            assert [container[f"{one}Probe"]["exec"]["command"][2] for one in PROBES] == [container["args"][1]] * 3
    assert used == image


PROBES = ("startup", "readiness", "liveness")


def test_the_zone_comes_from_the_node() -> None:
    """By its name, or where that is chosen by its label; and pods are spread over both."""
    for values, field in ((DEV, "spec.nodeName"), (PRODUCTION, "metadata.labels['topology.kubernetes.io/zone']")):
        pod = pods(rendered("--values", str(values)))["file-server"]
        (zone,) = (one for one in pod["containers"][0]["env"] if one["name"] == "LOCKSTEP_FILE_SERVER_ZONE")
        assert zone["valueFrom"] == {"fieldRef": {"fieldPath": field}}
        keys = {one["topologyKey"] for one in pod["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_production_protects_keys_and_scales_proxies() -> None:
    """Both Secrets reach the programs that use them; the autoscaler, not the chart, sets the number of proxies."""
    objects = rendered("--values", str(PRODUCTION))
    specs = pods(objects)
    secrets = {
        role: sorted(one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one)
        for role, pod in specs.items()
    }
    keys = ["lockstep-key-passphrase"]
    assert secrets == {"directory": keys, "file-server": keys, "proxy": ["lockstep-proxy-tls"]}
    (scaler,) = _of(objects, "HorizontalPodAutoscaler").values()
    proxies = _of(objects, "StatefulSet")[f"{RELEASE}-proxy"]
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (proxies["kind"], proxies["metadata"]["name"])
    assert "replicas" not in proxies["spec"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--set", "fileServer.replicas=1"), "fileServer.replicas is 1, but each file needs 2 copies"),
        (("--set", "fileServer.zoneFrom=label", "--kube-version", "1.32.0"), "set it to node"),
        (("--set", "proxy.replica=3"), "replica"),
        (("--set", "fileServer.storage.size=plenty"), "size"),
    ],
)
def test_values_that_cannot_work_are_refused(arguments: tuple[str, ...], reason: str) -> None:
    """At the time of the installation, with the value's name."""
    ended = template(*arguments)
    assert ended.returncode != 0
    assert reason in ended.stderr


def test_the_chart_is_of_this_release() -> None:
    """The image's default tag is the version of the programs."""
    version = re.search(r"^version = (.+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert version is not None
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version[1]
