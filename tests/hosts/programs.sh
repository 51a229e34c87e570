#!/bin/bash
# NixOS has nothing in /usr/bin but env and nothing in /bin but sh. Every program that first
# contact, agent and their tools start is traced: each comes from a system's sw/bin or the store.
. "$(dirname "$0")/lib.sh"
command -v strace > /dev/null || { say "1..0 # SKIP strace is missing"; tap_done=1; exit 0; }

up web1 11
new=$(system web1 11 --argstr version b)
bad=$(system web1 11 --argstr version c --argstr activationExtra 'exit 1')
init=$(< "$TB_STATE/web1/init.pid")
# trace SYSTEM FILE: what PID 1 and all below it execute while SYSTEM is deployed
trace() {
  mapfile -t pids < <(pgrep --ns "$init" --nslist pid .)
  strace --decode-pids=pidns -f -q -s 300 -e trace=execve,fork,vfork,clone,clone3 -e signal=none -o "$2" "${pids[@]/#/-p}" 2> /dev/null &
  local tracer=$!
  sleep 1
  deploy web1="$1"
  kill $tracer; wait $tracer 2> /dev/null
}
# Executions that do not come from where they must; those below switch-to-configuration and below
# systemd's own units are not ours.
foreign() {
  awk '
    function runs(pid, path, line) {
      if (path ~ /bin\/belay-agent$/) ours[pid] = 1
      if (path ~ /switch-to-configuration$/) { ours[pid] = 0; theirs[pid] = 1 }
      # first contact: the login shell runs our script
      if (line ~ /belay-user/) ours[pid] = 1
      if (ours[pid]) { n++; if (path !~ /^\/nix\/store\// && path !~ /^\/run\/current-system\/sw\/bin\// && path !~ /^\/run\/wrappers\/bin\// && path != "/bin/sh") print path }
    }
    /execve\("/ { path = $0; sub(/.*execve\("/, "", path); sub(/".*/, "", path) }
    /execve\("/ && / = 0$/ { runs($1, path, $0) }
    # On a busy machine others come in between, and it is told in two lines.
    /execve\("/ && /<unfinished/ { begun[$1] = path; line[$1] = $0 }
    /execve resumed>/ && / = 0$/ { runs($1, begun[$1], line[$1]) }
    # The id of a child is the host'"'"'s own; strace adds ours. A parent may be told of its child after
    # the child has executed the switcher.
    /(clone3?|v?fork)(\(| resumed>)/ && match($0, /[0-9]+ in strace/) {
      child = substr($0, RSTART, RLENGTH - 10)
      if (ours[$1] && !theirs[child]) ours[child] = 1
      if (theirs[$1]) theirs[child] = 1
    }
    END { print n + 0 > "/dev/stderr" }' "$1" 2> "$TEST/count" | sort -u
}
trace "$new" "$TEST/good.trace"
is "deployed under the tracer" "$RC" 0
foreign "$TEST/good.trace" > "$TEST/foreign"
check "it traced our programs ($(cat "$TEST/count"))" test "$(cat "$TEST/count")" -ge 10
check "first contact and commit: all from sw/bin, the store or /bin/sh" diff /dev/null "$TEST/foreign"
oracle web1 COMMITTED "$new" 2
baseline web1
trace "$bad" "$TEST/bad.trace"
is "rolled back under the tracer" "$RC" 3
foreign "$TEST/bad.trace" > "$TEST/foreign"
check "it traced our programs ($(cat "$TEST/count"))" test "$(cat "$TEST/count")" -ge 10
check "rollback: all from sw/bin, the store or /bin/sh" diff /dev/null "$TEST/foreign"
oracle web1 ROLLED_BACK "$new" 2
done_testing
