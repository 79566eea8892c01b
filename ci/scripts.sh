#!/usr/bin/env bash
# Runs shellcheck over all scripts of the repository.
set -euo pipefail
ci/install.sh basics
shellcheck .ci/run ci/*.sh benches/*.sh
