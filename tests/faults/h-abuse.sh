#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group H of the fault matrix: versions, hostile input, abuse.
. "$(dirname "$0")/lib.sh"

# An agent of another version of the protocol: ours, but it says so.
row_H3() {
  local dir=$TEST/other before
  before=$(state_of web1)
  mkdir -p "$dir/agent/x86_64-linux/bin"
  printf '%s\n' '#!/bin/sh' \
    'printf "belay-agent-frames-1\n\012\000\000\000\001\000\000\000version=9\n"; cat > /dev/null' > "$dir/agent/x86_64-linux/bin/belay-agent"
  chmod 755 "$dir/agent/x86_64-linux/bin/belay-agent"
  BELAY_DATADIR=$dir deploy web1="$(new h3)"
  is "H3 an agent of another version: exit code" "$RC" 1
  like "H3: says so" "$OUT" 'reason: .*another version of the protocol'
  oracle web1 "$before" "$old" "$gen"
  commits "H3: ours again" "$(new h3good)"
}

# The journal was opened by another build of the agent, which is gone when the next deployer comes.
row_H4() {
  local other=$ROOT/build/share
  SUCCESS_TIMEOUT=15
  bad=$(new h4 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  leave
  wait_for 30 newer_is WAIT_CONFIRM
  crash web1
  power_on web1
  new=$(new h4next)
  export BELAY_DATADIR=$other
  commits "H4 another agent ends what is open, then goes on" "$new"
  export BELAY_DATADIR=$ROOT/build/share-points
  is "H4: it was ended first" "$(sed -n 's/^state=//p' "$(dirname "$(newest_txn web1)")/$(($(epoch) - 1))/state")" ROLLED_BACK
}

row_H5() {
  local bad before
  before=$(state_of web1)
  new=$(new h5)
  # a name of each kind; the mark would be made by whatever runs it
  # shellcheck disable=SC2016
  for bad in "-oProxyCommand=touch $TEST/mark" '$(touch '"$TEST"'/mark)' '`touch '"$TEST"'/mark`' "web1; touch $TEST/mark" \
    "web1 touch $TEST/mark" 'root@-oProxyCommand=x' 'root@web1\ntouch' '../../x' ''; do
    write_fleet "$FLEET" web1="$new"
    HOST_JSON=${bad//\"/\\\"}
    awk -v h="${HOST_JSON//\\/\\\\}" '{ i = index($0, "root@web1"); print substr($0, 1, i - 1) h substr($0, i + 9) }' "$FLEET" > "$FLEET.bad"
    belay deploy --fleet-json "$FLEET.bad"
    check "H5 host '$bad': refused ($RC)" test "$RC" = 1 -o "$RC" = 2
    check_not "H5: and nothing was run" test -e "$TEST/mark"
  done
  # shellcheck disable=SC2016
  for bad in '/nix/store/$(touch /tmp/mark)' "/nix/store/x y" "/nix/store/../../etc" "relative" "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-'; touch /tmp/mark; '"; do
    write_fleet "$FLEET" web1="$bad"
    belay deploy --fleet-json "$FLEET"
    check "H5 toplevel '$bad': refused ($RC)" test "$RC" = 1 -o "$RC" = 2
  done
  check_not "H5: nothing was run on the host" on web1 test -e /tmp/mark
  # the same words where a shell could see them: options of ssh, and the elevation
  SSH_OPTIONS=("SetEnv=X=\$(touch $TEST/mark)")
  deploy web1="$new"
  check_not "H5 ssh's options are words" test -e "$TEST/mark"
  SSH_OPTIONS=() ELEVATE=('sudo' "-n; touch /tmp/mark;")
  deploy web1="$new"
  check_not "H5 so is the elevation" on web1 test -e /tmp/mark
  ELEVATE=(sudo -n)
  before=$(state_of web1)
  adopt
  oracle web1 "$before" "$old" "$gen"
}

row_H6() {
  SWITCH_TIMEOUT=60 BELAY_LIMIT=200
  bad=$(new h6 --argstr activationExtra 'yes a line of the activation script that goes on and on, for ever and a day, until somebody ends it')
  goes_back "H6 output without end" activation-fails 'printed more than 64 MiB' "$bad"
  check "H6: its file has a limit" test "$(stat -c %s "$(newest_txn web1)/stc.log")" -lt 140000000
}

row_H7() {
  BELAY_LIMIT=300
  # shellcheck disable=SC2016
  new=$(new h7 --argstr activationExtra 'mount -o remount,hidepid=2 /proc; nft flush ruleset; systemctl mask --runtime systemd-timesyncd.service belay-guard.service; true')
  deploy web1="$new"
  if [ "$RC" = 0 ]; then oracle web1 COMMITTED "$new" $((gen + 1)); adopt; else oracle web1 ROLLED_BACK "$old" "$gen"; fi
  on web1 sh -c 'mount -o remount,hidepid=0 /proc; systemctl unmask --runtime systemd-timesyncd.service belay-guard.service' 2> /dev/null
  # everything of /run is hidden: systemd's sockets, the agent's, the current system
  bad=$(new h7run --argstr activationExtra 'mkdir -p /tmp/run; mount --bind /tmp/run /run')
  boots=$(boots web1)
  clock rollback-impossible
  deploy web1="$bad"
  clock_stop
  is "H7 a mount over /run: told as it is" "$RC" 3
  check "H7: a reboot led back" test "$(boots web1)" -gt "$boots"
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# The way that is described for it: first both, then the new one alone.
row_H8() {
  local key users both
  key=$(cat "$TB_CACHE/id_ed25519.pub")
  users="[ { name = \"ops\"; authorizedKeys = [ \"$key\" ]; sudo = true; } ]"
  both=$(new h8both --arg users "$users" --argstr sshdConfig 'HostKey /etc/ssh/next_key' \
    --argstr activationExtra '[ -e /etc/ssh/next_key ] || ssh-keygen -q -t ecdsa -N "" -f /etc/ssh/next_key')
  commits "H8 a second user and a second host key" "$both"
  ctl ssh-keyscan -t ecdsa web1 2> /dev/null >> "$TB_STATE/ctl/home/.ssh/known_hosts"
  HOST_web1=ops@web1
  new=$(new h8only --arg users "$users" --argstr authorizedKeys '' --argstr sshdConfig 'HostKey /etc/ssh/next_key')
  deploy web1="$new"
  is "H8 as the new user, the old one's key goes" "$RC" 0
  is "H8: its system runs" "$(on web1 readlink /run/current-system)" "$new"
  is "H8: and boots" "$(default_of web1)" "$new"
  check_not "H8: root has no key any more" ssh_ok web1
  spoilt=1
}

rows "$@"
