"""Takes a service's alert rules out of its rendered chart (standard input) and writes beside each other, into a folder:
full.yaml, the rules as they are; rules.yaml, the same without annotations, which tests would have to repeat word for
word; and the tests, in which SELECTOR stands for the labels of the service and FIRES for the alert with its labels.

usage: prepare.py SERVICE FOLDER
"""

import re
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
service, folder = sys.argv[1], Path(sys.argv[2])
documents = [document for document in yaml.safe_load_all(sys.stdin) if document]
groups = [group for document in documents if document["kind"] == "PrometheusRule" for group in document["spec"]["groups"]]
alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}
problems = [] if alerts else [f"the chart of {service} has no alerts"]
(folder / "full.yaml").write_text(yaml.safe_dump({"groups": groups}))

fires, silent = set(), set()
for file in HERE.glob("*.yaml"):
    text = file.read_text().replace("SELECTOR", f'namespace="test",job="{service}"').replace("SERVICE", service)
    tests = yaml.safe_load(text)
    for check in (check for test in tests["tests"] for check in test["alert_rule_test"]):
        name = check["alertname"]
        if name not in alerts:
            problems.append(f"{file.name} tests {name}, which is no alert of {service}")
        elif "exp_alerts" in check:
            check["exp_alerts"] = [{"exp_labels": alerts[name]["labels"]}]
            fires.add(name)
        else:
            silent.add(name)
    (folder / f"{file.stem}.test.yaml").write_text(yaml.safe_dump(tests))

guide = (HERE.parent / "README.md").read_text()
for name, alert in alerts.items():
    problems += [f"{name} is never seen to fire in a test"] * (name not in fires)
    problems += [f"{name} is never seen to be silent in a test"] * (name not in silent)
    problems += [f"{name} has no chapter in deploy/README.md"] * (not re.search(rf"^### {name}$", guide, re.M))
    labels, annotations = alert["labels"], alert.get("annotations", {})
    problems += [f"{name} is neither page nor ticket"] * (labels.get("severity") not in ("page", "ticket"))
    problems += [f"{name} has no {part}" for part in ("summary", "description") if not annotations.get(part)]
    problems += [f"{name} leads to no runbook"] * (not annotations.get("runbook_url", "").endswith(f"#{name.lower()}"))
for name in re.findall(r"^### (Rapport\w+)$", guide, re.M):
    problems += [f"deploy/README.md has a chapter about {name}, which is no alert"] * (name not in alerts)

for rule in alerts.values():
    rule.pop("annotations", None)
(folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
for problem in problems:
    print(f"alerts: {problem}", file=sys.stderr)
sys.exit(bool(problems))
