"""A value that means nothing is refused, before anything is installed."""

import concurrent.futures
import functools
import json

import jsonschema
import pytest
import yaml
from support import CHARTS, HELMS, NAMES, SERVICES, run

MUTATIONS = 50
WRONG = {bool: "yes", int: "three", float: "three", str: 7, list: "text", dict: "text"}


def defaults(chart):
    """Everything that can be set, with its default."""
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    if chart == "rapport":
        for service in SERVICES:
            # Below the umbrella `global` belongs to the release.
            values[service] |= {key: value for key, value in defaults(service).items() if key != "global"}
    return values


@functools.cache
def schema(chart):
    return json.loads((CHARTS / chart / "values.schema.json").read_text())


def paths(values, prefix=()):
    for key, value in values.items():
        yield (*prefix, key), value
        # What a map of the user's own says is not mistyped by us: those are leaves with a default of their own.
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


def known(chart, path):
    """Whether the schema itself names this key."""
    node = schema(path[0] if chart == "rapport" and path[0] in SERVICES and len(path) > 1 else chart)
    for key in path[1:] if chart == "rapport" and path[0] in SERVICES and len(path) > 1 else path:
        node = node.get("properties", {}).get(key)
        if node is None:
            return False
    return True


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def mistyped(key):
    return key[:-2] + key[-1] + key[-2] if len(key) > 1 and key[-1] != key[-2] else key + "s"


def mutations(chart):
    """A misspelt name and a wrong type for every key, then an even choice among them."""
    every = []
    for path, value in paths(defaults(chart)):
        if not known(chart, path):
            continue
        every.append((f"{'.'.join(path)} misspelt", nested((*path[:-1], mistyped(path[-1])), value)))
        every.append((f"{'.'.join(path)} of the wrong type", nested(path, WRONG[type(value)])))
    return every


def chosen(chart):
    every = mutations(chart)
    assert len(every) >= MUTATIONS
    return [every[index * len(every) // MUTATIONS] for index in range(MUTATIONS)]


@pytest.mark.parametrize("chart", NAMES)
@pytest.mark.parametrize("helm", HELMS)
def test_helm_refuses_every_mutation(chart, helm):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda mutation: (mutation[0], *run(chart, values=mutation[1], helm=helm)), chosen(chart))
    # It is the schema that refuses, and not a template that stumbles over what it was given.
    assert not [name for name, good, output in answers if good or "schema" not in output]


@pytest.mark.parametrize("chart", SERVICES)
def test_the_schema_refuses_every_mutation_there_is(chart):
    validator = jsonschema.Draft7Validator(schema(chart))

    def merged(base, over):
        return {
            **base,
            **{
                key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
                for key, value in over.items()
            },
        }

    assert validator.is_valid(defaults(chart))
    assert not [name for name, values in mutations(chart) if validator.is_valid(merged(defaults(chart), values))]


@pytest.mark.parametrize("chart", NAMES)
def test_a_key_that_is_taken_away_is_refused(chart):
    values = {"resources": {"limits": {"memory": None}}}
    good, output = run(chart, values={"contacts": values} if chart == "rapport" else values)
    assert not good and "schema" in output


@pytest.mark.parametrize("chart", NAMES)
def test_every_key_is_described_and_the_schema_stands_alone(chart):
    def walk(node, where):
        if isinstance(node, list):
            for part in node:
                walk(part, where)
        if not isinstance(node, dict):
            return
        assert node.get("$ref", "#/").startswith("#/"), where
        for key, child in node.get("properties", {}).items():
            target = child
            if "description" not in child and "$ref" in child:
                target = schema(chart)["definitions"][child["$ref"].rsplit("/", 1)[1]]
            assert target.get("description"), f"{where}.{key}"
        if "properties" in node and where not in [f".properties.{service}" for service in SERVICES]:
            assert node.get("additionalProperties") is False, where
        for key, child in node.items():
            if key == "properties":
                for name, value in child.items():
                    walk(value, f"{where}.properties.{name}")
            else:
                walk(child, f"{where}.{key}")

    walk(schema(chart), "")
