#!/usr/bin/env bash
# What the tests of the page need beside Python packages: Chromium (by apt) and axe-core (by npm,
# into node_modules/, which git ignores). Does nothing where they are here.
set -euo pipefail
cd "$(dirname "$0")/.."
AXE=4.14.1

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
command -v chromium > /dev/null || missing+=(chromium fonts-dejavu-core)
command -v npm > /dev/null || missing+=(npm)
if [ "${#missing[@]}" -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi
if [ ! -f node_modules/axe-core/axe.min.js ]; then
  npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix . "axe-core@$AXE"
fi
