"""Writes values.yaml, values.schema.json and the README's table of each chart from its schema.yaml.

A schema.yaml is JSON Schema in YAML with a default for every value; that of a service is laid over the library's. What
comes out is closed: a key that is not described is refused, and so is one that was taken away with null.

usage: charts.py [--check] CHARTS_FOLDER
"""

import copy
import json
import re
import sys
import textwrap
from pathlib import Path

import yaml

LIBRARY = "rapport-service"


class Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which YAML would keep the last one without a word."""

    def construct_mapping(self, node, deep=False):
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for name in names:
            if isinstance(name, str) and names.count(name) > 1:
                sys.exit(f"'{name}' is written twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def load(file: Path):
    with file.open() as text:
        return yaml.load(text, Loader=Loader)


def laid_over(base, over):
    """`over` on top of `base`; null takes a key away."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    both = {key: laid_over(value, over[key]) if key in over else value for key, value in base.items()}
    both |= {key: value for key, value in over.items() if key not in base}
    return {key: value for key, value in both.items() if value is not None}


def read(chart: Path):
    schema = load(chart / "schema.yaml")
    dependencies = yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]
    if any(dependency["name"] == LIBRARY for dependency in dependencies):
        schema = laid_over(load(chart.parent / LIBRARY / "schema.yaml"), schema)
    return schema


def defaults(schema):
    if "default" in schema:
        return schema["default"]
    children = {key: defaults(child) for key, child in schema.get("properties", {}).items()}
    return {key: value for key, value in children.items() if value is not None} or None


def close(schema, path=()):
    """Refuses unknown keys everywhere, and missing ones wherever there is a default."""
    if isinstance(schema, list):
        return [close(part, path) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(value, (*path, key)) for key, value in schema.items() if key not in ("open", "properties")}
    if "properties" in schema:
        closed = {"type": "object", "additionalProperties": "open" in schema, **closed}
        closed["properties"] = {key: close(child, (*path, key)) for key, child in schema["properties"].items()}
        needed = [key for key, child in schema["properties"].items() if key != "global" and defaults(child) is not None]
        if needed and "definitions" not in path and "items" not in path and "global" not in path:
            closed["required"] = sorted(needed)
    return closed


def json_schema(schema, chart: Path):
    closed = close(schema)
    names = [dependency["name"] for dependency in yaml.safe_load((chart / "Chart.yaml").read_text())["dependencies"]]
    if LIBRARY in names:
        # Helm hands every dependency the global values.
        closed["properties"][LIBRARY] = {
            "type": "object",
            "additionalProperties": False,
            "description": "Made by Helm; nothing can be set.",
            "properties": {"global": {"type": "object", "description": "As `global`."}},
        }
    closed = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"Values of the chart {chart.name}", **closed}
    return json.dumps(closed, indent=1, sort_keys=True) + "\n"


def values_yaml(schema, chart: Path):
    lines = [f"# Values of the chart {chart.name}, made from schema.yaml by `scripts/charts docs`."]

    def write(schema, depth):
        indent = "  " * depth
        for key, child in schema["properties"].items():
            value = defaults(child)
            if value is None:
                continue
            lines.extend(f"{indent}# {line}" for line in textwrap.wrap(child["description"].replace("`", ""), 116 - len(indent)))
            if "properties" in child:
                lines.append(f"{indent}{key}:")
                write(child, depth + 1)
            elif isinstance(value, (list, dict)) and value:
                lines.append(f"{indent}{key}:")
                lines.extend(f"{indent}  {line}" for line in yaml.safe_dump(value, sort_keys=False, width=116).splitlines())
            else:
                plain = isinstance(value, str) and re.fullmatch("[A-Za-z][A-Za-z0-9._-]*", value)
                lines.append(f"{indent}{key}: {value if plain else json.dumps(value)}")

    write(schema, 0)
    return "\n".join(lines) + "\n"


def table(schema):
    rows = ["| key | default | |", "|---|---|---|"]

    def write(schema, prefix):
        for key, child in schema["properties"].items():
            name, text = f"{prefix}{key}", child["description"].replace("|", "\\|")
            if "properties" in child:
                rows.append(f"| **`{name}`** | | {text} |")
                write(child, f"{name}.")
            elif defaults(child) is not None:
                rows.append(f"| `{name}` | `{json.dumps(defaults(child))}` | {text} |")

    write(schema, "")
    return "\n".join(rows)


def readme(schema, chart: Path):
    text = (chart / "README.md").read_text()
    return re.sub(
        "(<!-- values -->\n).*?(<!-- /values -->)", lambda match: match[1] + table(schema) + "\n" + match[2], text, flags=re.S
    )


def main(arguments):
    check, stale = "--check" in arguments, []
    charts = Path(arguments[-1])
    for chart in sorted(path.parent for path in charts.glob("*/schema.yaml") if path.parent.name != LIBRARY):
        schema = read(chart)
        made = {
            "values.yaml": values_yaml(schema, chart),
            "values.schema.json": json_schema(copy.deepcopy(schema), chart),
            "README.md": readme(schema, chart),
        }
        for name, text in made.items():
            file = chart / name
            if file.exists() and file.read_text() == text:
                continue
            stale.append(str(file))
            if not check:
                file.write_text(text)
    for file in stale:
        print(f"{file} {'is not what its schema.yaml says: run scripts/charts docs' if check else 'written'}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
