#!/bin/bash
# Checks by the deployer, between the activation and the confirmation.
. "$(dirname "$0")/lib-plan.sh"

up web1 11
SUCCESS_TIMEOUT=6
from='"where":"deployer","timeout":3,"retries":0'
next --arg units "{ $web }" --arg etc "{ $page }"
checks "\"name\":\"t\",$from,\"type\":\"tcp\",\"host\":\"web1\",\"port\":80" \
  "\"name\":\"h\",$from,\"type\":\"http\",\"url\":\"http://web1/out\",\"status\":200,\"contains\":\"GET /out\"" \
  "\"name\":\"c\",$from,\"type\":\"command\",\"command\":\"[ \$BELAY_HOST,\$BELAY_NODE = root@web1,web1 ]\"" \
  "\"name\":\"d\",$from,\"type\":\"dns\",\"lookup\":\"web1\"" \
  "\"name\":\"wish\",$from,\"required\":false,\"type\":\"tcp\",\"host\":\"web1\",\"port\":81"
passes "every type is good"
like "the advisory one is told" "$OUT" 'check wish: Connection refused \(advisory\)'

bad() { checks "\"name\":\"it\",$from,$1"; fails "$2" "check it: $3"; }
next --arg units "{ $web }" --arg etc "{ $page }"
bad '"type":"tcp","host":"web1","port":81' "a closed port" 'Connection refused'
bad '"type":"tcp","host":"nowhere.invalid","port":81' "a port of nobody" 'nowhere.invalid cannot be resolved'
bad '"type":"http","url":"http://web1/","status":404' "another status" 'status 200'
bad '"type":"http","url":"http://web1/","contains":"goodbye"' "another page" "the page does not contain 'goodbye'"
bad '"type":"http","url":"http://web1:81/"' "no web server" '.*(Failed to connect|Could not connect)'
bad '"type":"http","url":"https://web1:22/"' "no TLS" '.*'
bad '"type":"command","command":"echo too bad; exit 3"' "a command" 'status 3: too bad'
bad '"type":"command","command":"sleep 994"' "a command that hangs" 'no answer within 3000 ms'
check_not "it is gone" ctl sh -c 'ps -eo args | grep -q "[s]leep 994"'
bad '"type":"dns","lookup":"nowhere.invalid"' "a name of nobody" 'nowhere.invalid cannot be resolved'
checks '"name":"it","where":"deployer","retries":0,"hold":4,"type":"command","command":"[ $(ssh root@web1 uptime -p | wc -l) = 1 ] && [ ! -e /tmp/belay-held ] && sleep 1"'

# longer than a challenge waits for its answer: it is asked for another one
checks '"name":"slow","type":"command","command":"sleep 17","where":"deployer","timeout":20,"retries":0'
passes "a check of 17 s"

# the host is cut off: no check can pass, and no abort gets through
next --arg address null
checks "\"name\":\"it\",$from,\"type\":\"tcp\",\"host\":\"web1\",\"port\":22"
LIMIT=25 fails "cut off" '(nobody confirmed over a fresh connection|check it: )'

# twice interrupted, belay leaves at once, whatever its checks do
next
checks '"name":"slow","type":"command","command":"sleep 993","where":"deployer","timeout":60,"retries":0'
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 30 state_is web1 WAIT_CONFIRM
sleep 1
kill -INT "$BELAY_PID"; sleep 0.3; kill -INT "$BELAY_PID"
stopwatch
belay_wait
check "interrupted twice: it leaves at once" test "$(elapsed)" -le 12000
check_not "its check is gone" ctl sh -c 'ps -eo args | grep -q "[s]leep 993"'
check "the host can be stopped" belay abort --fleet-json "$FLEET" web1
wait_for 20 state_is web1 ROLLED_BACK
oracle web1 ROLLED_BACK "$(old_of web1)"
done_testing
