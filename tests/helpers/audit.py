"""``make audit``: which versions that are installed here have known flaws? It says so where nobody could be asked.

pip-audit calls a package without flaws about which its source has no answer; such are not counted here.
"""

import json
import subprocess
import sys
from typing import Any

SOURCES = ("pypi", "osv")


def asked(source: str) -> list[dict[str, Any]]:
    """What a source of advisories says of each package; nothing, where it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(
        [*command, "--timeout", "15", "--vulnerability-service", source], capture_output=True, text=True
    )
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        return []


def main() -> int:
    for source in SOURCES:
        packages = asked(source)
        judged = [package for package in packages if "skip_reason" not in package]
        if not judged:
            continue
        flawed = [(package, flaw) for package in judged for flaw in package["vulns"]]
        for package, flaw in flawed:
            versions = ", ".join(flaw["fix_versions"]) or "no version"
            print(f"audit: {package['name']} {package['version']}: {flaw['id']}, fixed in {versions}")
        unknown = len(packages) - len(judged)
        print(
            f"audit: {len(judged)} packages asked about ({source}), {len(flawed)} known flaws; {unknown} unknown there"
        )
        return 1 if flawed else 0
    print(f"audit: NOT DONE: no source of advisories answers ({', '.join(SOURCES)}); it needs the network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
