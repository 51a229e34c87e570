#!/bin/bash
# Checks and hooks with trial boots.
. "$(dirname "$0")/lib-plan.sh"

up web1 11
outside=$TEST/outside
add_to_plan() { PLAN+=',"bootTimeout":40,"preActivate":"echo pre >> /var/order","postRollback":"echo post >> /var/order"'; }
order() { on web1 paste -sd' ' /var/order; on web1 rm -f /var/order; }
both() { checks "\"name\":\"it\",\"type\":\"command\",\"retries\":0,\"command\":\"$1\"" \
  "\"name\":\"out\",\"type\":\"command\",\"retries\":0,\"where\":\"deployer\",\"command\":\"$2\""; add_to_plan; }

STRATEGY=live+boot
next
both 'echo check >> /var/order' "echo . >> $outside"
passes "live+boot"
is "the host's own checks: live, and in the trial boot; the hook once" "$(order)" "pre check check"
is "the deployer's too" "$(wc -l < "$outside")" 2

STRATEGY=boot LIMIT=40
next
both 'echo check >> /var/order; false' true
fails "a check fails in the trial boot" 'check it: status 1'
is "the second hook runs when the old system is back" "$(order)" "pre check post"
both 'echo check >> /var/order' 'echo too bad; exit 3'
fails "a check of the deployer's fails in the trial boot" 'check out: status 3: too bad'
is "the second hook runs then too" "$(order)" "pre check post"
done_testing
