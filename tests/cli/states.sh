#!/bin/bash
# docs/state-machine.md has the tables as the C code has them.
. "$(dirname "$0")/lib.sh"
: "${STATE_TABLES:=$(dirname "$BELAY")/tests/state-tables}"
page=$root/docs/state-machine.md
if [ ! -x "$STATE_TABLES" ]; then skip "docs/state-machine.md" "$STATE_TABLES is not built"; done_testing; fi
"$STATE_TABLES" | grep '^|' > code.tables
grep '^|' "$page" > page.tables
check "the program prints three tables" test "$(grep -c '^| ---' code.tables)" = 3
check "docs/state-machine.md has the tables of the code" diff code.tables page.tables
done_testing
