#!/bin/sh
# tools/readme_verbs.sh PANUM - puts the table of `panum help --markdown` into the README, where the old one is.
panum=${1:-build/panum}
cd "$(dirname "$0")/.." || exit 1
"$panum" help --markdown >build/verbs.md && awk '
    /^\| Verb \| Does \|$/ { while ((getline line < "build/verbs.md") > 0) print line; skip = 1; next }
    skip && /^\|/ { next }
    { skip = 0; print }' README.md >build/README.new && mv build/README.new README.md
