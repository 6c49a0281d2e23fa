#!/usr/bin/env bash
# Checks what is deployed, and what others build on, with the tools that they have: the scripts, the contract, the
# Dockerfile, compose.yaml, the Kubernetes manifests, the systemd units, the configurations of Prometheus, the bill of
# materials, and the syntax of every YAML file. Tools that are not installed come from PyPI, and one from Debian, below
# .local; what cannot be had is named with the word SKIPPED.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT/deploy"

have() { command -v "$1" >/dev/null || ! log "SKIPPED: $1 is not installed, $2 not checked"; }

RUN_DIR=$(create_run_dir)
trap 'rm -rf "$RUN_DIR"' EXIT
if PYTHON=$("$ROOT/deploy/scripts/python.sh" "$ROOT/deploy/scripts/lint-requirements.txt"); then
  PATH=$PATH:${PYTHON%/*}
  "$ROOT/deploy/scripts/sbom.py" >"$RUN_DIR/sbom.json"
  "$PYTHON" - "$RUN_DIR/sbom.json" <<'CHECK'
import pathlib, sys, yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in pathlib.Path().rglob("*.y*ml"):
    list(yaml.safe_load_all(path.read_text()))
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(pathlib.Path(sys.argv[1]).read_text())
if wrong:
    sys.exit(f"the bill of materials is no CycloneDX: {wrong}")
CHECK
fi

if have shellcheck "the scripts were"; then (cd "$ROOT" && shellcheck -x deploy/scripts/*.sh .ci/run); fi
if have buf "the contract was"; then buf lint "$ROOT/proto"; fi
if have hadolint "the Dockerfile was"; then hadolint Dockerfile; fi
if have docker-compose "compose.yaml was"; then docker-compose --file compose.yaml config --quiet; fi

if have kubernetes-validate "the manifests for Kubernetes were"; then
  if have kubectl "the manifests for Kubernetes were only file by file"; then
    kubectl kustomize kubernetes >"$RUN_DIR/kubernetes.yaml"
    kubernetes-validate --quiet --strict "$RUN_DIR/kubernetes.yaml"
  fi
  for file in kubernetes/*.yaml; do
    [[ $file == */kustomization.yaml ]] || kubernetes-validate --quiet --strict "$file"
  done
fi

if PROMTOOL=$("$ROOT/deploy/scripts/promtool.sh"); then
  "$PROMTOOL" check config prometheus/prometheus.yml
  "$PROMTOOL" test rules prometheus/waybill.rules.test.yml
fi

if have systemd-analyze "the units were"; then
  # The program need not be installed here.
  sed 's#^ExecStart=/usr/bin/waybill#ExecStart=/bin/true#' systemd/waybill@.service >"$RUN_DIR/waybill@gateway.service"
  systemd-analyze verify "$RUN_DIR/waybill@gateway.service"
fi
log "deploy/ is as its tools want it"
