#!/bin/bash
# Checks on the target: every type good and bad, advisory ones, retries, hold, one that hangs. B16.
. "$(dirname "$0")/lib-plan.sh"

up web1 11
once='"timeout":4,"retries":0'
with_web() { next --arg units "{ $web $1 }" --arg etc "{ $page }" "${@:2}"; }

with_web '' --argstr gateway 10.77.0.1
checks '"name":"u","type":"unit","unit":"sshd.service"' '"name":"t","type":"tcp","port":22' '"name":"h","type":"tcp","host":"localhost","port":22' \
  '"name":"c","type":"command","command":"test $BELAY_TRANSACTION = 1 && [ $(readlink /run/current-system) = $BELAY_NEW ] && [ $BELAY_OLD != $BELAY_NEW ]"' \
  '"name":"d","type":"dns","lookup":"localhost"' '"name":"f","type":"file","path":"/etc/hosts","contains":"localhost"' \
  '"name":"g","type":"file","path":"/etc"' '"name":"r","type":"route"' \
  '"name":"w","type":"http","url":"http://127.0.0.1/page","contains":"welcome GET /page"'
passes "every type is good"

# several at once, so that they fail side by side; the first of them is the reason
bad() { checks "\"name\":\"it\",$once,$1"; fails "$2" "check it: $3"; }
with_web '' --argstr gateway 10.77.0.1
bad '"type":"unit","unit":"none.service"' "a unit that is not there" 'none.service is inactive'
bad '"type":"tcp","port":81' "a closed port" 'Connection refused'
bad '"type":"tcp","host":"nowhere.invalid","port":81' "a port of nobody" 'nowhere.invalid cannot be resolved'
bad '"type":"tcp","host":"10.77.0.222","port":81' "a port of a host that is not there" '(Host is unreachable|no answer within 4000 ms)'
bad '"type":"http","url":"http://127.0.0.1/","status":404' "another status" 'status 200'
bad '"type":"http","url":"http://127.0.0.1/","contains":"goodbye"' "another page" "the page does not contain 'goodbye'"
bad '"type":"http","url":"http://127.0.0.1:81/"' "no web server" 'curl: \(7\)'
bad '"type":"command","command":"echo first; echo too bad >&2; exit 3"' "a command" 'status 3: too bad'
bad '"type":"command","command":"trap \"\" TERM; setsid -f sleep 991; sleep 992"' "a command that hangs" 'no answer within 4000 ms'
check_not "all of it is gone" on web1 sh -c 'ps -eo args | grep -q "[s]leep 99[12]"'
bad '"type":"file","path":"/etc/none"' "a file that is not there" 'it does not exist'
bad '"type":"file","path":"/etc/hosts","contains":"none"' "a file without the text" "it does not contain 'none'"
with_web '' --argstr gateway 10.77.0.222
bad '"type":"route"' "a gateway that is not there" '(the gateway 10.77.0.222 does not answer|no answer within 4000 ms)'
with_web ''
bad '"type":"route"' "no default route" 'there is no default route'
next --arg etc '{ "resolv.conf" = "nameserver 10.77.0.222\n"; }' --argstr gateway 10.77.0.1
bad '"type":"dns","lookup":"example.org"' "B16: DNS is broken, the LAN is fine" '(example.org cannot be resolved|no answer within 4000 ms)'

# an advisory one is told and decides nothing; another one needs three tries
next --argstr gateway 10.77.0.1
checks '"name":"late","type":"command","command":"echo . >> /run/tries; [ $(wc -l < /run/tries) -ge 3 ]","retries":3' \
  "\"name\":\"wish\",\"required\":false,$once,\"type\":\"tcp\",\"port\":81"
passes "the third try is good"
is "it was tried three times" "$(on web1 wc -l /run/tries)" "3 /run/tries"
like "the advisory one is told" "$OUT" 'check wish \(advisory\): Connection refused'

# a unit that is active and then is not: within its hold, and later
short='"short.service".text = "[Service]\nExecStart=/bin/sleep 3\n";'
next --argstr gateway 10.77.0.1 --arg units "{ $short }"
checks '"name":"it","type":"unit","unit":"short.service","hold":6'
fails "a unit does not stay active" 'check it: did not stay good for 6000 ms: short.service is inactive'
checks '"name":"it","type":"unit","unit":"short.service","retries":0' '"name":"slow","where":"deployer","type":"command","command":"sleep 8","timeout":20'
fails "a unit ends while the host waits" 'check it: short.service is inactive'

# neither system has the program to ask with
next --argstr gateway 10.77.0.1 --arg dropPrograms '[ "curl" ]'
PLAN=
passes "a system without curl"
next --argstr gateway 10.77.0.1 --arg dropPrograms '[ "curl" ]' --arg units "{ $web }" --arg etc "{ $page }"
bad '"type":"http","url":"http://127.0.0.1/"' "http without curl" 'there is no curl on the host to ask with'
done_testing
