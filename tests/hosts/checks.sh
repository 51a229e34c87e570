#!/bin/bash
# Checks of the target and of the deployer, of every type, good and bad; units policies; hooks: A9 A10 A11 B16.
. "$(dirname "$0")/lib.sh"

up web1 11
# a page on port 80, ports that stay closed, and what the checks look at
web='"web.socket" = { wantedBy = [ "sockets.target" ]; text = "[Socket]\nListenStream=80\nAccept=yes\n"; };
  "web@.service" = { wantedBy = [ ]; text = "[Service]\nStandardInput=socket\nStandardError=null\nExecStart=-/bin/sh /etc/web.sh\n"; };'
page='{ "web.sh" = "read -r f; while read -r l && [ \${#l} -gt 1 ]; do :; done\nprintf \"HTTP/1.0 200 OK\\r\\n\\r\\nwelcome %s\\n\" \"$f\"\n"; }'
n=0
# new [build-system arguments]: one more system, into $new
new() { n=$((n + 1)); new=$(system web1 11 --argstr version "c$n" "$@"); }
# checks CHECK...: into PLAN, each one the JSON of a check without its braces
checks() { local c all=; for c in "$@"; do all+=${all:+,}\{$c\}; done; PLAN="\"checks\":[$all]"; }
passes() { # NAME
  probe_start web1
  deploy web1="$new"
  is "$1: confirmed" "$RC" 0
  probe_stop web1
  oracle web1 COMMITTED "$new"
  baseline web1
}
fails() { # NAME REASON
  local old; old=$(old_of web1)
  probe_start web1
  stopwatch
  deploy web1="$new"
  local ms; ms=$(elapsed)
  is "$1: rolled back" "$RC" 3
  like "$1: says why" "$OUT" "reason: $2"
  check "$1: within ${LIMIT:-10} s ($ms ms)" test "$ms" -le $((${LIMIT:-10} * 1000))
  probe_stop web1
  oracle web1 ROLLED_BACK "$old"
}
now='"timeout":2,"retries":0'

new --arg units "{ $web }" --arg etc "$page"
checks '"name":"u","type":"unit","unit":"sshd.service"' '"name":"t","type":"tcp","port":22' '"name":"h","type":"tcp","host":"localhost","port":22' \
  '"name":"c","type":"command","command":"test $BELAY_TRANSACTION = 1 && [ $(readlink /run/current-system) = $BELAY_NEW ]"' \
  '"name":"d","type":"dns","lookup":"localhost"' '"name":"f","type":"file","path":"/etc/hosts","contains":"localhost"' \
  '"name":"g","type":"file","path":"/etc"' '"name":"w","type":"http","url":"http://127.0.0.1/page","contains":"welcome GET /page"' \
  '"name":"x","type":"tcp","where":"deployer","host":"web1","port":80' \
  '"name":"y","type":"http","where":"deployer","url":"http://web1/out","status":200,"contains":"GET /out"' \
  '"name":"z","type":"command","where":"deployer","command":"[ $BELAY_HOST,$BELAY_NODE = root@web1,web1 ]"' \
  '"name":"n","type":"dns","where":"deployer","lookup":"web1"'
passes "every type is good"
done_testing
