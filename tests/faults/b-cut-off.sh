#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group B of the fault matrix: being cut off, which is what the tool is for.
. "$(dirname "$0")/lib.sh"

# cut_off NAME SYSTEM: nobody can confirm it, and it goes back
cut_off() { goes_back "$1" unreachable "$nobody_confirmed" "$2"; }
# A unit of the new system: COMMAND while it starts, UNDO when it is stopped.
breaks() {
  unit break.service "[Unit]\nAfter=sshd.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=$1\n${2:+ExecStop=$2\n}"
}
# firewall ROW RULES...: a system with these rules of nft in its input chain, taken away when its unit is stopped
firewall() {
  local name=$1; shift
  new "$name" --arg units "$(breaks '/usr/sbin/nft -f /etc/fault.nft' '/usr/sbin/nft delete table inet fault')" \
    --arg etc "{ \"fault.nft\" = \"table inet fault {
$*
}
\"; }"
}

row_B3() {
  BELAY_LIMIT=400
  # nothing of the old system takes the link up again: the first try of the way back does not do
  goes_back "B3 link down" rollback-fails "$nobody_confirmed" "$(new b3 --arg units "$(breaks '/sbin/ip link set eth0 down')")"
}

# Both on a host behind the router, whose default route is the way to the deployer.
row_B5() {
  local good bad
  up far1 31 --segment 2 --argstr networking scripted --arg residualGateway true
  bad=$(system far1 31 --argstr networking scripted --arg residualGateway true --arg gateway null --argstr version b5)
  check "B5 the gateway is dropped, its route stays: live is committed" deploy far1="$bad"
  oracle far1 COMMITTED "$bad" 2
  like "B5: says that the next boot is not proven" "$OUT" 'boot path of (the )?network not proven'
  reboot_host far1
  check_not "B5: and that is why: after a reboot nobody reaches it" ssh_ok far1
  "$TB/host-down" far1
}

row_B6() {
  cut_off "B6 firewall drops port 22" "$(firewall b6 'chain in { type filter hook input priority 0;
    ct state established,related accept; tcp dport 22 drop; }')"
}

row_B7() {
  cut_off "B7 firewall drops everything" "$(firewall b7 'chain in { type filter hook input priority 0; policy drop; }
    chain out { type filter hook output priority 0; policy drop; }')"
}

# What NEW changed outlives the switch back: nothing undoes its firewall, and the host finds itself well.
residue() { # ROW
  new "$1" --arg units "$(unit firewall.service '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft -f /etc/fault.nft\n')" \
    --arg etc '{ "fault.nft" = "table inet fault {
  chain in { type filter hook input priority 0; iif lo accept; tcp dport 22 ct state new drop; }
}
"; }'
}
row_B24() {
  boots=$(boots web1)
  inject_ms visit_ms 6000
  cut_off "B24 a firewall that stays behind" "$(residue b24)"
  is "B24: a reboot cleared it" $(($(boots web1) - boots)) 1
  like "B24: says why" "$OUT" 'nobody reached the old system either'

  # by hand: whoever asked for it gets a host that stays up
  baseline web1; old=$(old_of web1) boots=$(boots web1)
  PLAN='"rollbackReboot":"never"' BELAY_LIMIT=90
  bad=$(residue b24never)
  begin "$bad" ROLLED_BACK
  check_not "B24 rollbackReboot = never: not to be reached" ssh_ok web1
  on web1 nft delete table inet fault
  belay_wait
  is "B24 rollbackReboot = never: told as it is" "$RC" 3
  is "B24 rollbackReboot = never: no reboot" $(($(boots web1) - boots)) 0
  unset PLAN
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# The deployer is through again while the way back still runs: that connection tells nothing of its end.
row_B25() {
  fresh --argstr version b25old --arg units "$(unit slow.service '[Unit]\nAfter=systemd-networkd.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 6\n')"
  boots=$(boots web1)
  inject_ms visit_ms 10000
  cut_off "B25 reached while the way back runs" "$(new b25 --arg address null)"
  is "B25: and so no reboot" $(($(boots web1) - boots)) 0
}

row_B12() {
  fresh --argstr version b12old --arg etc '{ "pam.d/sshd" = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"; }'
  cut_off "B12 PAM broken" "$(new b12 --arg etc '{ "pam.d/sshd" = "auth requisite pam_deny.so\naccount requisite pam_deny.so\n"; }')"
}

# Another key by configuration, which can be taken back; a key that the activation itself overwrites is
# state outside of the system (assumption A5) and stays overwritten.
row_B14() {
  cut_off "B14 another host key" "$(new b14 --argstr sshdConfig 'HostKey /etc/ssh/other_key' \
    --argstr activationExtra '[ -e /etc/ssh/other_key ] || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/other_key')"
}

row_B15() { cut_off "B15 the login shell is gone" "$(new b15 --arg dropPrograms '[ "bash" ]')"; }

row_B17() {
  local hosts=$TB_STATE/ctl/hosts
  [ -e "$TB_STATE/web2/kind" ] || up web2 12
  cp "$hosts" "$TEST/hosts"
  bad=$(new b17 --argstr activationExtra 'sleep 2')
  once_in ACTIVATING sh -c "sed 's/^.* web1\$/$(< "$TB_STATE/web2/addr") web1/' '$TEST/hosts' > '$hosts'"
  ( wait_for 60 newer_is ROLLED_BACK; cat "$TEST/hosts" > "$hosts" ) 3>&- &
  cut_off "B17 the name leads to another host" "$bad"
  cat "$TEST/hosts" > "$hosts"
  is "B17: the other host was left alone" "$(state_of web2)" NONE
}

row_B18() {
  local new
  SUCCESS_TIMEOUT=40 BELAY_LIMIT=200
  new=$(new b18)
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$new" > "$TEST/copy.log" 2>&1
  probe_start web1
  once_in 'PREPARED|ARMED|ACTIVATING' "$TB/wan-set" 400 100 22
  deploy web1="$new"
  "$TB/wan-set" 0
  case $RC in
    0) oracle web1 COMMITTED "$new" $((gen + 1)) ;;
    3) oracle web1 ROLLED_BACK "$old" "$gen" ;;
    *) not_ok "B18 a bad line: told as it is" ;;
  esac
  say "# B18: exit code $RC"
  probe_stop web1
}

row_B19() {
  SUCCESS_TIMEOUT=25
  new=$(new b19 --argstr activationExtra 'sleep 2')
  once_in ACTIVATING cut_line
  ( wait_for 60 newer_is WAIT_CONFIRM; sleep 8; mend_line ) 3>&- &
  commits "B19 the line is gone for 10 s" "$new"
  is "B19: one decision" "$(agent_log | grep -cE ' (COMMITTED|ROLLED_BACK)|^(COMMITTED|ROLLED_BACK)')" 1
}

row_B20() {
  fresh --argstr version b20old --argstr activationExtra 'sleep 5'
  bad=$(new b20 --argstr activationExtra 'sleep 2')
  once_in ACTIVATING cut_line
  ( wait_for 60 newer_is ROLLING_BACK; mend_line ) 3>&- &
  cut_off "B20 reachable again, but too late" "$bad"
  check "B20: the late confirmation was refused" grep -q 'refused: too late' "$(newest_txn web1)/agent.log"
  spoilt=1
}

row_B21() {
  SUCCESS_TIMEOUT=40
  commits "B21 the way to it is restarted by the new system, 10 s long" "$(new b21 --arg units "$(unit tunnel.service \
    "[Service]\nType=exec\nExecStart=/bin/sh -c 'ip link set eth0 down; sleep 10; ip link set eth0 up; exec sleep infinity'\n")")"
}

# The deployer asks for an address of its own family: IPv4 alone would not show it.
row_B22() {
  local v6=fd77::11
  ip -n "$TB_PREFIX-ctl" -6 addr show dev eth0 | grep -q fd77::1 || { skip "B22 IPv6 lost" "no IPv6 in this kernel"; return; }
  fresh --argstr version b22old --argstr address6 $v6/64
  PLAN='"checks":[{"name":"v6","type":"tcp","where":"deployer","host":"'$v6'","port":22,"timeout":3,"retries":1}]'
  commits "B22 both families answer" "$(new b22 --argstr address6 $v6/64)"
  goes_back "B22 IPv6 lost, IPv4 fine" check-fails 'check v6' "$(new b22bad)"
  check "B22: IPv6 answers again" answers $v6
}
# answers ADDRESS: sshd there, to the deployer
answers() { ctl bash -c "read -t 3 -r x < /dev/tcp/$1/22 && [[ \$x == SSH-2.0* ]]"; }

# Debian trixie: an sshd that shuts out sources which fail too often, also a later systemd and Nix. The confirmation is
# tried for so long that a try a second would be too many.
row_B23() {
  local log=$TEST/sshd.log
  "$TB/build-rootfs" trixie > "$TEST/trixie.log" 2>&1 || { skip "B23 sshd penalises us" "no root file system of Debian trixie"; return; }
  fresh --suite trixie
  say "# B23: $(on web1 sh -c 'ssh -V 2>&1; systemctl --version | head -n 1; nix --version' | paste -sd,)"
  check "B23: sshd has penalties" on web1 sh -c '/usr/sbin/sshd -T | grep -q "^persourcepenalties .*authfail:5"'
  commits "B23 a good system" "$(new b23good)"
  SUCCESS_TIMEOUT=40
  goes_back "B23 sshd refuses our key for 40 s" unreachable "$nobody_confirmed" "$(new b23 --arg authorizedKeys '[ ]')"
  on web1 journalctl -q --no-pager -u sshd > "$log"
  check "B23: it was tried more than once ($(grep -c 'closed by authenticating user' "$log"))" test "$(grep -c 'closed by authenticating user' "$log")" -gt 1
  check_not "B23: and never so often that we were shut out" grep -q 'penalty' "$log"
  SUCCESS_TIMEOUT=6
  commits "B23: the next one works" "$(new b23next)"
  spoilt=1
}

rows "$@"
