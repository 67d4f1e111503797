"""The readable expectations of expect/*.yaml: what values bring about, object by object."""

import re

import pytest
import yaml
from support import CHARTS, NAMES, SERVICES, at, named, objects, run

FOLDER = CHARTS / "tests" / "expect"


def expectations(chart):
    files = ["every-service", chart] if chart in SERVICES else [chart]
    for file in files:
        yield from yaml.safe_load((FOLDER / f"{file}.yaml").read_text().replace("<service>", chart))


def count(expectation):
    if "refused" in expectation:
        return 1
    return sum(len(paths) if isinstance(paths, dict) else 1 for paths in expectation["expect"].values())


@pytest.mark.parametrize(
    ("chart", "expectation"),
    [pytest.param(chart, each, id=f"{chart}: {each['it']}") for chart in NAMES for each in expectations(chart)],
)
def test_it(chart, expectation):
    values = expectation.get("values", {})
    if "refused" in expectation:
        good, output = run(chart, values=values)
        assert not good and re.search(expectation["refused"], output), output
        return
    rendered = named(objects(chart, values=values))
    for name, paths in expectation["expect"].items():
        if paths == "absent":
            assert name not in rendered
            continue
        assert name in rendered, f"{name} is not among {sorted(rendered)}"
        for path, wanted in ({} if paths == "there" else paths).items():
            found = at(rendered[name], path)
            if isinstance(wanted, str) and wanted.startswith("~"):
                assert re.search(wanted[1:].strip(), str(found)), f"{name} {path}: {found}"
            else:
                assert found == wanted, f"{name} {path}"


@pytest.mark.parametrize("chart", NAMES)
def test_there_are_enough(chart):
    assert sum(map(count, expectations(chart))) >= 15


@pytest.mark.parametrize("chart", NAMES)
def test_every_switch_is_in_an_expectation(chart):
    def switches(values, prefix=()):
        for key, value in values.items():
            if isinstance(value, bool):
                yield ".".join((*prefix, key))
            elif isinstance(value, dict):
                yield from switches(value, (*prefix, key))

    used = {switch for expectation in expectations(chart) for switch in switches(expectation.get("values", {}))}
    assert set(switches(yaml.safe_load((CHARTS / chart / "values.yaml").read_text()))) <= used
