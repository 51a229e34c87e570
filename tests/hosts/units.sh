#!/bin/bash
# Policies of failed units: A9 A10 A11.
. "$(dirname "$0")/lib-plan.sh"

CLASS=activation-fails
up web1 11
failing() { echo "\"$1.service\".text = \"[Service]\\nType=oneshot\\nExecStart=/bin/false\\n\";"; }
units() { PLAN="\"units\":{\"policy\":\"$1\",\"ignore\":[${2:-}],\"listed\":[${3:-}]}"; }

next --arg units "{ $(failing bad) }"
units new-failures
fails "A9 a unit fails" 'units failed that were not failed before: bad.service'
units new-failures '"other.service"'
fails "A9 another one is ignored" 'units failed that were not failed before: bad.service'
units listed '' '"bad.service"'
fails "A9 it is listed" 'units have failed: bad.service'
units new-failures '"bad.service"'
passes "A9 it is ignored"
like "A9 it is told" "$OUT" 'ignored as asked for: bad.service'

# from here on it is failed before
next --arg units "{ $(failing bad) }"
units strict
fails "A10 strict: it counts though it failed before" 'units have failed: bad.service'
units new-failures
passes "A10 it failed before"
next --arg units "{ $(failing bad) $(failing worse) }"
units strict '"bad.service"'
fails "A10 strict: only the other one is ignored" 'units have failed: worse.service'
units listed '' '"sshd.service"'
passes "A9 only others are listed"

# 3 s after its start; the deployer takes its time
next --arg units '{ "late.service".text = "[Service]\nExecStart=/bin/sh -c \"sleep 3; exit 1\"\n"; }'
units new-failures
PLAN+=',"checks":[{"name":"slow","type":"command","command":"sleep 8","where":"deployer","timeout":20}]'
fails "A11 a unit fails late" 'units failed that were not failed before: late.service'

# a job that failed, and a unit that is as active as it was: only the activation's own word tells
reloads() { echo "{ \"reloads.service\".text = \"[Unit]\\nX-ReloadIfChanged=true\\n[Service]\\nExecStart=/bin/sleep infinity\\nExecReload=$1\\n\"; }"; }
PLAN=
next --arg units "$(reloads /bin/true)"
passes "a unit that can be reloaded"
next --arg units "$(reloads /bin/false)"
fails "a unit's reload fails" 'units failed that were not failed before: reloads.service'
is "and it is active all the same" "$(on web1 systemctl is-active reloads.service)" active
units new-failures '"reloads.service"'
passes "a unit's reload fails, as it may"
done_testing
