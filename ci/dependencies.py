#!/usr/bin/env python3
"""Checks the dependencies by the rules of deny.toml, and counts them.

It stands in for cargo-deny, which takes longer to compile than all other checks together. It covers licences, bans and
sources; security advisories need a database from the network and are left to the hosted CI.
"""

import json
import re
import subprocess
import sys
import tomllib

# The packages that a user of the default features compiles, this one not counted: as many as there were when this was
# written, and two that an update may bring.
DEFAULT_TREE_MAX = 32
SYSTEMS = ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def licence_is_allowed(expression, allowed):
    """Whether an SPDX expression can be met with the allowed licences alone."""
    # Each name becomes its truth, and what is left is Python's own grammar. `A/B` is the old way to write `A OR B`, and an
    # exception to a licence only adds rights.
    plain = re.sub(r"\s+WITH\s+[\w.-]+", "", expression.replace("/", " OR "))
    words = re.findall(r"[()]|[^\s()]+", plain)
    grammar = {"(": "(", ")": ")", "AND": "and", "OR": "or"}
    return eval(" ".join(grammar.get(word) or str(word in allowed) for word in words), {})


def problems(packages, rules):
    allowed = set(rules["licenses"]["allow"])
    banned = {entry["crate"] for entry in rules["bans"]["deny"]}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if not licence or not licence_is_allowed(licence, allowed):
            yield f"{name}: its licence is {licence}"
        if package["name"] in banned:
            yield f"{name}: banned"
        # Only the default registry, which needs no name in deny.toml.
        if package["source"] is not None and not package["source"].endswith("/crates.io-index"):
            yield f"{name}: comes from {package['source']}"
        if package["source"] is None:
            for dependency in package["dependencies"]:
                if dependency["req"] == "*" and not dependency.get("path"):
                    yield f"{name}: takes any version of {dependency['name']}"


def default_tree(system):
    """Name and version of each package that the default features need on a system, this one first."""
    tree = output("cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--no-dedupe",
                  "--target", system, "--format", "{p}")
    return list(dict.fromkeys(" ".join(line.split()[:2]) for line in tree.splitlines()))


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    packages = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--all-features"))["packages"]
    found = list(problems(packages, rules))
    for system in SYSTEMS:
        count = len(default_tree(system)) - 1
        print(f"{system}: {count} packages with the default features (at most {DEFAULT_TREE_MAX})")
        if count > DEFAULT_TREE_MAX:
            found.append(f"{system}: {count} packages are more than {DEFAULT_TREE_MAX}")
    for problem in found:
        print("PROBLEM:", problem)
    print(f"{len(packages)} packages checked for licence, source and bans; NOT for security advisories, which need a network")
    return 1 if found else 0


sys.exit(main())
