"""What the charts say about the services is what the code of the services says."""

import json
import re
from pathlib import Path

import pytest
from support import CHARTS, SERVICES

ROOT = CHARTS.parent
# Set by the chart itself, not by its user.
FIXED = {"listen", "metrics", "health", "tls", "secrets", "service"}


def keys(file: Path, struct="Config"):
    body = re.search(rf"struct {struct} {{\n(.*?)\n}}", file.read_text(), re.S)[1]
    return set(re.findall(r"^    pub(?:\(crate\))? (\w+):", body, re.M))


def settable(service, *path):
    node = json.loads((CHARTS / service / "values.schema.json").read_text())
    for key in path:
        node = node["properties"][key]
    return set(node["properties"])


def test_every_service_has_a_chart_and_is_in_the_umbrella():
    services = sorted(folder.parent.name for folder in (ROOT / "services").glob("*/migrations"))
    assert services == sorted(SERVICES)
    umbrella = (CHARTS / "rapport" / "Chart.yaml").read_text()
    assert all(f"condition: {service}.enabled" in umbrella for service in services)


@pytest.mark.parametrize("service", SERVICES)
def test_every_key_of_the_configuration_can_be_set(service):
    kit = ROOT / "crates/rapport-kit/src/config.rs"
    assert settable(service, "config") - FIXED == keys(kit) - FIXED
    assert settable(service, "config", "retention") == keys(kit, "Retention")


@pytest.mark.parametrize("service", SERVICES)
def test_so_can_those_of_the_service_alone(service):
    own = ROOT / "services" / service / "src" / "config.rs"
    assert ("service" in settable(service, "config")) == own.exists()
    if own.exists():
        assert settable(service, "config", "service") == keys(own)


def test_all_charts_have_the_version_of_the_code():
    version = re.search(r'\[workspace.package\]\nversion = "(.*?)"', (ROOT / "Cargo.toml").read_text())[1]
    for chart in CHARTS.glob("*/Chart.yaml"):
        found = re.findall(r"^(?:version|appVersion|    version): (.*)$", chart.read_text(), re.M)
        assert set(found) == {version}, chart
