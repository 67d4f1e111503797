"""Renders charts as an operator would, and finds things in what comes out."""

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml

CHARTS = Path(__file__).parent.parent
SERVICES = sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml") if "- name: rapport-service" in path.read_text())
NAMES = [*SERVICES, "rapport"]
# Helm 4 and 3 where scripts/bootstrap brought both.
HELMS = [helm for helm in ("helm4", "helm3") if shutil.which(helm)] or [os.environ.get("HELM", "helm")]
NAMESPACE = "crm"
QUICK = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def cases():
    """Every chart with its defaults, each of its profiles, and with everything switched on."""
    for chart in NAMES:
        yield chart, "default", None
        for profile in sorted((CHARTS / chart / "profiles").glob("*.yaml")):
            yield chart, profile.stem, profile
        yield chart, "everything", CHARTS / "tests" / "everything" / f"{chart}.yaml"


def run(chart, *options, values=None, helm=HELMS[0]):
    """What `helm template` prints, and whether it succeeded."""
    command = [helm, "template", chart, str(CHARTS / chart), "--namespace", NAMESPACE, "--kube-version", "1.30.0", *options]
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(
        command, input=json.dumps(values) if values is not None else None, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


@functools.cache
def text(chart, file=None, values=None, helm=HELMS[0]):
    options = ["--values", str(file)] if file else []
    good, output = run(chart, *options, values=json.loads(values) if values else None, helm=helm)
    assert good, output
    return output


def objects(chart, file=None, values=None, helm=HELMS[0]):
    rendered = text(chart, file, json.dumps(values) if values else None, helm)
    return [document for document in yaml.load_all(rendered, Loader=QUICK) if document]


def named(rendered):
    return {f"{document['kind']} {document['metadata']['name']}": document for document in rendered}


def at(document, path):
    """What is at a path such as spec.containers.0.args or metadata.labels[app.kubernetes.io/name]; None if nothing is."""
    for key, bracketed in re.findall(r"([^.\[\]]+)|\[([^\]]+)\]", path):
        if isinstance(document, list):
            document = document[int(key)] if int(key) < len(document) else None
        elif isinstance(document, dict):
            document = document.get(bracketed or key)
        if document is None:
            return None
    return document


def pods(rendered):
    """The pods that the objects bring about: (kind and name, labels, spec)."""
    for document in rendered:
        template = document.get("spec", {}).get("template", {})
        if document["kind"] == "Pod":
            template = document
        if "spec" in template:
            yield f"{document['kind']} {document['metadata']['name']}", template["metadata"].get("labels", {}), template["spec"]
