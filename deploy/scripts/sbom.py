#!/usr/bin/env python3
"""Writes what Waybill is made of, as CycloneDX 1.6 in JSON, to standard output: every package of Cargo.lock with its
version, checksum and licence, and what depends on what. Two runs on one Cargo.lock print the same.

    deploy/scripts/sbom.py > waybill.cdx.json
"""

import hashlib
import json
import pathlib
import re
import subprocess
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCK = (ROOT / "Cargo.lock").read_text()


def checksums():
    """SHA-256 of the packages that come from a registry, by name and version."""
    entry = r'\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"\nsource = .+\nchecksum = "(.+)"'
    return {(name, version): checksum for name, version, checksum in re.findall(entry, LOCK)}


def component(package, sums):
    """One package. What is not from a registry is part of this repository."""
    name, version = package["name"], package["version"]
    entry = {
        "type": "application" if name == "waybill" else "library",
        "bom-ref": reference(package),
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package["description"]:
        entry["description"] = package["description"].strip()
    if package["license"]:
        # An older way to write OR.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in sums:
        entry["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def reference(package):
    """Unique among the packages of one Cargo.lock."""
    return f"pkg:cargo/{package['name']}@{package['version']}"


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    components = sorted((component(package, checksums()) for package in packages.values()), key=lambda c: c["bom-ref"])
    program = next(entry for entry in components if entry["name"] == "waybill")
    needs = {
        reference(packages[node["id"]]): sorted({reference(packages[needed]) for needed in node["dependencies"]})
        for node in metadata["resolve"]["nodes"]
    }
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(LOCK.encode()).digest()[:16], version=4)}",
        "version": 1,
        "metadata": {"component": program, "tools": {"components": [{"type": "application", "name": "sbom.py"}]}},
        "components": [entry for entry in components if entry is not program],
        "dependencies": [{"ref": ref, "dependsOn": needed} for ref, needed in sorted(needs.items())],
    }
    print(json.dumps(bom, indent=1))


main()
