# shellcheck shell=bash
# Sourced by the tests of checks, hooks and units policies: one host, web1, and deployments
# that pass or fail by their plan.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

n=0 PLAN=''
# next [build-system arguments]: one more system, into $new
next() { n=$((n + 1)); new=$(system web1 11 --argstr version "p$n" "$@"); }
# checks CHECK...: into PLAN, each one the JSON of a check without its braces
checks() { local c all=; for c in "$@"; do all+=${all:+,}\{$c\}; done; PLAN="\"checks\":[$all]"; }
# passes NAME: $new with PLAN is committed
passes() {
  probe_start web1
  deploy web1="$new"
  is "$1: exit code" "$RC" 0
  probe_stop web1
  baseline web1
  oracle web1 COMMITTED "$new"
}
# fails NAME REASON: it goes back, for that reason (a regular expression), within LIMIT seconds (20)
fails() {
  local old ms; old=$(old_of web1)
  probe_start web1
  stopwatch
  clock "${CLASS:-check-fails}"
  deploy web1="$new"
  clock_stop
  ms=$(elapsed)
  is "$1: exit code" "$RC" 3
  like "$1: reason" "$OUT" "reason: $2"
  check "$1: told soon ($ms ms)" test "$ms" -le $((${LIMIT:-20} * 4000))
  probe_stop web1
  oracle web1 ROLLED_BACK "$old"
}

# shellcheck disable=SC2034  # used by the tests that source this
# A web server without a package: a page for everyone on port 80, for `next --arg units ... --arg etc ...`.
web='"web.socket" = { wantedBy = [ "sockets.target" ]; text = "[Socket]\nListenStream=80\nAccept=yes\n"; };
  "web@.service" = { wantedBy = [ ]; text = "[Service]\nStandardInput=socket\nStandardError=null\nExecStart=-/bin/sh /etc/web.sh\n"; };'
# shellcheck disable=SC2034
page='"web.sh" = "read -r f; while read -r l && [ \${#l} -gt 1 ]; do :; done\nprintf \"HTTP/1.0 200 OK\\r\\n\\r\\nwelcome %s\\n\" \"$f\"\n";'
