#!/usr/bin/env python3
"""Prints what is linked into a package's binary as CycloneDX 1.5, from Cargo.lock and the manifests of its crates.

usage: scripts/lib/sbom.py PACKAGE

Only what the package needs on Linux is listed, not what builds or tests it. The same lock file gives the same bytes:
there is no time in it, and its serial number is made of its content.
"""
import json
import re
import subprocess
import sys
import tomllib
import uuid

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
package = sys.argv[1]

metadata = json.loads(subprocess.run(
    ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"],
    check=True, stdout=subprocess.PIPE).stdout)
packages = {entry["id"]: entry for entry in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
with open("Cargo.lock", "rb") as file:
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in tomllib.load(file)["package"]}

roots = [key for key, entry in packages.items() if entry["name"] == package and key in metadata["workspace_members"]]
if len(roots) != 1:
    sys.exit(f"{package} is not a package of this workspace")


def linked(key):
    """What is linked into the package: normal dependencies, and nothing behind a procedural macro."""
    kinds = lambda dependency: any(kind["kind"] is None for kind in dependency["dep_kinds"])
    macro = lambda other: any("proc-macro" in target["kind"] for target in packages[other]["targets"])
    return sorted({entry["pkg"] for entry in nodes[key]["deps"] if kinds(entry) and not macro(entry["pkg"])}, key=reference)


def reference(key):
    entry = packages[key]
    return f"pkg:cargo/{entry['name']}@{entry['version']}"


def component(key, kind):
    entry = packages[key]
    shown = {"type": kind, "bom-ref": reference(key), "name": entry["name"], "version": entry["version"], "purl": reference(key)}
    if checksum := checksums.get((entry["name"], entry["version"])):
        shown["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if entry["license"]:  # older crates write MIT/Apache-2.0 where an expression says OR
        shown["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", entry["license"])}]
    return shown


seen, waiting = set(), [roots[0]]
while waiting:
    key = waiting.pop()
    if key not in seen:
        seen.add(key)
        waiting.extend(linked(key))

inside = sorted(seen - set(roots), key=reference)
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": component(roots[0], "application")},
    "components": [component(key, "library") for key in inside],
    "dependencies": [{"ref": reference(key), "dependsOn": [reference(other) for other in linked(key)]} for key in [roots[0], *inside]],
}
bom["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True)).urn
json.dump(bom, sys.stdout, indent=1)
print()
