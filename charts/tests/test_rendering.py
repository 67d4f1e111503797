"""What holds for every object of every chart and profile."""

import functools
import json
import re
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support import CHARTS, HELMS, NAMES, NAMESPACE, SERVICES, at, cases, objects, pods, run, text

CASES = pytest.mark.parametrize(("chart", "case", "file"), [pytest.param(*case, id="-".join(case[:2])) for case in cases()])
EVERYTHING = CHARTS / "tests" / "everything" / "contacts.yaml"
KUBERNETES = [f"1.{minor}" for minor in range(30, 38)]
CUSTOM = {
    kind: jsonschema.Draft202012Validator(schema)
    for kind, schema in json.loads((CHARTS / "tests" / "crds.json").read_text()).items()
}

# It reads megabytes of definitions again for every object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def kind_of(document):
    return f"{document['apiVersion']} {document['kind']}"


@CASES
def test_rendering_twice_gives_the_same_bytes(chart, case, file):
    again = run(chart, *(["--values", str(file)] if file else []))
    assert again == (True, text(chart, file))


@CASES
@pytest.mark.skipif(len(HELMS) < 2, reason="there is one Helm only")
def test_helm_3_and_4_render_the_same_objects(chart, case, file):
    assert objects(chart, file, helm=HELMS[1]) == objects(chart, file)


@CASES
@pytest.mark.parametrize("version", KUBERNETES)
def test_objects_are_what_kubernetes_knows(chart, case, file, version):
    for document in objects(chart, file):
        if kind_of(document) not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


@CASES
def test_objects_of_other_projects_are_what_these_know(chart, case, file):
    found = [document for document in objects(chart, file) if kind_of(document) in CUSTOM]
    assert case != "everything" or len({kind_of(document) for document in found}) >= 4
    for document in found:
        CUSTOM[kind_of(document)].validate(document)


def test_a_misspelt_field_is_seen():
    """Of Kubernetes' own kinds and of others', or the two tests above say nothing."""
    for wanted in ("Deployment", "ServiceMonitor"):
        document = next(each for each in objects("contacts", EVERYTHING) if each["kind"] == wanted)
        document["spec"]["selectr"] = document["spec"]["selector"]
        with pytest.raises(jsonschema.ValidationError, match="selectr"):
            if kind_of(document) in CUSTOM:
                CUSTOM[kind_of(document)].validate(document)
            else:
                kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)


@CASES
def test_names_are_unique_and_everything_stands_in_the_namespace(chart, case, file):
    rendered = objects(chart, file)
    names = [(document["kind"], document["metadata"]["name"]) for document in rendered]
    assert len(names) == len(set(names))
    assert {document["metadata"].get("namespace") for document in rendered} == {NAMESPACE}


@CASES
def test_pods_are_restricted(chart, case, file):
    """The Pod Security Standard `restricted`, version 1.37, and beyond it: no token, no writable root, requests, a memory limit."""
    found = list(pods(objects(chart, file)))
    assert found
    for name, _, spec in found:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert spec["automountServiceAccountToken"] is False, name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 10000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= {
                "configMap",
                "csi",
                "downwardAPI",
                "emptyDir",
                "ephemeral",
                "persistentVolumeClaim",
                "projected",
                "secret",
            }, name
        for container in spec["containers"] + spec.get("initContainers", []):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]} and not own.get("privileged"), name
            assert own.get("runAsNonRoot", True) is True and own.get("runAsUser", 1) != 0, name
            assert own.get("seccompProfile", {"type": "RuntimeDefault"})["type"] == "RuntimeDefault", name
            assert not any("hostPort" in port for port in container.get("ports", [])), name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@CASES
def test_what_serves_is_probed(chart, case, file):
    for name, _, spec in pods(objects(chart, file)):
        if name.startswith("Job"):
            continue
        for container in spec["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name
            # Liveness is always the more patient one.
            patience = [
                container[probe].get("periodSeconds", 10) * container[probe].get("failureThreshold", 3)
                for probe in ("readinessProbe", "livenessProbe")
            ]
            assert patience[0] < patience[1], name


@CASES
def test_no_secret_is_in_a_chart(chart, case, file):
    rendered = objects(chart, file)
    assert not [document for document in rendered if document["kind"] == "Secret"]
    for name, _, spec in pods(rendered):
        for container in spec["containers"] + spec.get("initContainers", []):
            # Whoever may look at a process may read its environment: secrets come as files.
            assert not any("secretKeyRef" in entry.get("valueFrom", {}) for entry in container.get("env", [])), name
            assert not any(re.search("(PASSWORD|SECRET|TOKEN)$", entry["name"]) for entry in container.get("env", [])), name


@CASES
def test_selectors_find_the_pods_that_they_are_meant_for(chart, case, file):
    rendered = objects(chart, file)
    labels = {name: labels for name, labels, _ in pods(rendered)}

    def found(selector):
        return {name for name, own in labels.items() if selector.items() <= own.items()}

    for document in rendered:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind == "Service":
            assert len(found(document["spec"]["selector"])) == 1, name
        elif kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            assert len(found(document["spec"]["selector"]["matchLabels"])) == 1, name
        elif kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            assert f"Deployment {document['spec']['scaleTargetRef']['name']}" in labels, name


@CASES
def test_a_drain_is_never_blocked_and_never_takes_two(chart, case, file):
    rendered = objects(chart, file)
    budgets = {document["metadata"]["name"]: document for document in rendered if document["kind"] == "PodDisruptionBudget"}
    scaled = {
        document["metadata"]["name"]: document["spec"].get("minReplicas", document["spec"].get("minReplicaCount"))
        for document in rendered
        if document["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    for document in rendered:
        if document["kind"] != "Deployment":
            continue
        name = document["metadata"]["name"]
        least = scaled.get(name, document["spec"].get("replicas"))
        assert (name in budgets) == (least > 1), name
        if name in budgets:
            assert at(budgets[name], "spec.maxUnavailable") == 1
            assert at(budgets[name], "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow"
        # The development cluster has one pod and no time.
        assert document["spec"]["minReadySeconds"] == (0 if case == "dev" else 30), name
        assert document["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        if case == "ha":
            assert least >= 2, name
            assert [at(each, "whenUnsatisfiable") for each in at(document, "spec.template.spec.topologySpreadConstraints")] == [
                "DoNotSchedule",
                "ScheduleAnyway",
            ]


@pytest.mark.skipif("helm4" not in HELMS, reason="Helm 3 asks a cluster before it prints notes")
def test_the_notes_name_the_services_that_are_there():
    for off, there in ((), SERVICES), (("identity",), ["contacts"]), (SERVICES, []):
        options = [option for service in off for option in ("--set", f"{service}.enabled=false")]
        command = ["helm4", "install", "rapport", str(CHARTS / "rapport"), "--namespace", NAMESPACE, "--dry-run=client", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert sorted(re.findall(r"port-forward service/(\S+)", done.stdout)) == there


@pytest.mark.parametrize("chart", NAMES)
def test_one_value_says_where_all_images_come_from(chart):
    for name, _, spec in pods(objects(chart, values={"global": {"image": {"registry": "registry.example/all"}}})):
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["image"].startswith("registry.example/all/rapport-"), name


@pytest.mark.parametrize("chart", NAMES)
def test_a_new_version_changes_nothing_that_cannot_be_changed(chart):
    """Selectors stay, pods roll, and the migration's Job is another one."""
    service = {"image": {"tag": "2.0.0"}, "migrations": {"suffix": "2-0-0"}, "config": {"calls": 7}}
    values = service if chart != "rapport" else dict.fromkeys(SERVICES, service)
    before, after = objects(chart), objects(chart, values=values)
    jobs = [
        {
            document["metadata"]["name"]
            for document in rendered
            if document["kind"] == "Job" and "migrate" in document["metadata"]["name"]
        }
        for rendered in (before, after)
    ]
    assert jobs[0] and jobs[1] and not jobs[0] & jobs[1]
    old = {document["metadata"]["name"]: document for document in before if document["kind"] == "Deployment"}
    for document in after:
        if document["kind"] == "Deployment":
            was = old[document["metadata"]["name"]]
            assert document["spec"]["selector"] == was["spec"]["selector"]
            config = "spec.template.metadata.annotations[rapport.toml]"
            assert at(document, config) != at(was, config)


def test_the_charts_ask_for_a_kubernetes_that_is_checked():
    for chart in NAMES:
        assert yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["kubeVersion"] == f">={KUBERNETES[0]}.0-0"
