"""Makes crds.json, the strict schemas of other people's kinds, from the definitions that their projects publish.

usage: crds.py CRD.yaml... > crds.json

Made of: gateway-api 1.7.0 (standard), keda 2.21.0, prometheus-operator 0.85.0, cert-manager 1.21.2; all Apache-2.0.
"""

import json
import sys
from pathlib import Path

import yaml

KEPT = {
    "type",
    "properties",
    "items",
    "required",
    "enum",
    "pattern",
    "additionalProperties",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "format",
}


def strict(schema, names=False):
    """Without texts and defaults, and closed; `names` says that the keys are names of properties."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {key: strict(value) for key, value in schema.items()}
    kept = {key: strict(value, key == "properties") for key, value in schema.items() if key in KEPT}
    if "(?i)" in str(kept.get("pattern", "")):  # Go takes a flag anywhere, Python at the start only
        kept["pattern"] = "(?i)" + kept["pattern"].replace("(?i)", "")
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
    if "properties" in kept and kept.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("additionalProperties", False)
    return kept


def main(files):
    schemas = {}
    for crd in (yaml.safe_load(Path(file).read_text()) for file in files):
        for version in crd["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schemas[f"{crd['spec']['group']}/{version['name']} {crd['spec']['names']['kind']}"] = schema
    lines = (f'"{kind}":{json.dumps(schema, sort_keys=True, separators=(",", ":"))}' for kind, schema in sorted(schemas.items()))
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main(sys.argv[1:])
