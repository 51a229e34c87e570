#!/bin/bash
# The first seed's promises: a system that cuts the host off goes back by itself (B1, B2, B4, B8
# with C1, B9, B10), each within the window and told soon after it.
. "$(dirname "$0")/lib.sh"

up web1 11
old=$(old_of web1)
SUCCESS_TIMEOUT=6

# rolls_back NAME SECONDS ARGS...: deploys a system with ARGS; it must go back and be told in time
rolls_back() {
  local name=$1 limit=$2 bad; shift 2
  bad=$(system web1 11 --argstr version "${name// /-}" "$@")
  probe_start web1
  stopwatch
  clock unreachable
  deploy web1="$bad"
  clock_stop
  local ms; ms=$(elapsed)
  is "$name: exit code of a rollback" "$RC" 3
  like "$name: says so" "$OUT" '^\[web1\] Failed to activate new system! Rolled back to previous one'
  like "$name: names the command for the log" "$OUT" 'next: belay log web1'
  check "$name: told soon ($ms ms)" test "$ms" -le $((limit * 4000))
  probe_stop web1
  oracle web1 ROLLED_BACK "$old" 1
}

rolls_back "B1 address gone" 13 --arg address null
rolls_back "B2 wrong address" 13 --argstr address 10.99.0.1/24
rolls_back "B10 sshd disabled" 13 --arg sshdEnable false
rolls_back "B11 sshd on another port" 13 --arg sshPort 2222

# B9: sshd does not start again; its unit fails or nobody gets in, whichever is seen first
rolls_back "B9 sshd config broken" 15 --argstr sshdConfig 'Bogus yes'

# B8 with C1: the key goes, and a session of the user's own stays open all the time
cat >> "$TB_STATE/ctl/home/.ssh/config" << X
Host web1
  ControlMaster auto
  ControlPath /root/.ssh/master-%r@%h
  ControlPersist 60
X
check "the user's own master is open" ctl ssh root@web1 true
check "the user's own master answers" ctl ssh -O check root@web1
rolls_back "B8 C1 key removed under an open master" 15 --argstr authorizedKeys ''
check "the user's own master was never used up" ctl ssh -O check root@web1
ctl ssh -O exit root@web1 2> /dev/null
sed -i '/^Host web1$/,$d' "$TB_STATE/ctl/home/.ssh/config"

oracle_again web1 "$(system web1 11 --argstr version good)"
done_testing
