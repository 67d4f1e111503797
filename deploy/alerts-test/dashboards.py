"""Writes every query of the dashboards in rendered charts (standard input) as a rule, so that promtool can read it.

usage: dashboards.py
"""

import json
import sys

import yaml

rules, titles = [], []
for document in yaml.safe_load_all(sys.stdin):
    if not document or document["kind"] != "ConfigMap":
        continue
    for name, text in document["data"].items():
        if not name.endswith(".json"):
            continue
        dashboard = json.loads(text)
        titles.append(dashboard["title"])
        for target in (target for panel in dashboard["panels"] for target in panel.get("targets", [])):
            query = target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "test")
            rules.append({"record": f"query:{len(rules)}", "expr": query})
if len(titles) != len(set(titles)) or "Rapport: overview" not in titles or len(titles) < 3:
    sys.exit(f"dashboards: one for each service and an overview were expected, and there are {titles}")
yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, sys.stdout)
