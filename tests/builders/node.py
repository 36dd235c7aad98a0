"""Oracles that run in Node.js: other people's readers of what we write (tests/npm)."""

import json
import subprocess
from pathlib import Path
from typing import Any

NPM = Path(__file__).parent.parent / "npm"


def run_node(script: str, *arguments: object) -> Any:
    """Run a script of tests/npm; what it printed, parsed."""
    assert (NPM / "node_modules").is_dir(), "npm packages are missing: run `make test-packages`"
    result = subprocess.run(
        ["node", NPM / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)
