#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group C of the fault matrix: who may confirm, and when.
. "$(dirname "$0")/lib.sh"

# waiting NAME SECONDS: a transaction that waits and whose deployer is dead; its key is in $KEY
waiting() {
  SUCCESS_TIMEOUT=$2
  new=$(new "$1" --argstr activationExtra 'sleep 1')
  begin "$new" ACTIVATING || return
  leave
  wait_for 30 newer_is WAIT_CONFIRM || not_ok "$1: waits"
  KEY=$(newest_txn web1)/key
}
# The guest's program on the host, for its own door.
guest_on_host() { on web1 sh -c 'rm -f /run/fault-guest; cat > /run/fault-guest; chmod 755 /run/fault-guest' < "$FAULT_GUEST"; }

row_C2() {
  local master=$TEST/master
  ctl ssh -fN -o ControlMaster=yes -o ControlPersist=no -S "$master" root@web1 < /dev/null > /dev/null 2>&1 3>&-
  waiting c2 20
  guest "$KEY" - 0 -S "$master"
  is "C2 a session from before: refused" "$RC" 1
  like "C2: says why" "$OUT" 'refused: stale connection'
  guest "$KEY" - 0 -o ControlPath=none
  is "C2 the same over a fresh one: accepted" "$RC" 0
  ctl ssh -S "$master" -O exit root@web1 2> /dev/null
  wait_for 20 newer_is COMMITTED
  oracle web1 COMMITTED "$new" $((gen + 1))
}

row_C3() {
  local proof
  waiting c3a 20
  guest "$KEY" - 0 -o ControlPath=none
  is "C3 a first transaction is confirmed" "$RC" 0
  proof=$(sed -n 's/^proof //p' "$OUT")
  wait_for 20 newer_is COMMITTED
  adopt
  guest_on_host
  waiting c3b 6
  clock deployer-dies now
  on web1 timeout 10 /run/fault-guest door "/run/belay/$(epoch).sock" twice > "$TEST/twice" 2>&1
  is "C3 one challenge, one try" "$(paste -sd, "$TEST/twice")" "challenge,bad proof,a proof without a challenge"
  guest "$KEY" "$proof" 0 -o ControlPath=none
  like "C3 its proof again, for another transaction" "$OUT" 'refused: bad proof'
  printf %064d 0 > "$TEST/zero"
  guest "$TEST/zero" - 0 -o ControlPath=none
  like "C3 another key" "$OUT" 'refused: bad proof'
  wait_for 30 newer_is ROLLED_BACK
  clock_stop
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_C4() {
  local kind n
  SUCCESS_TIMEOUT=20
  new=$(new c4 --argstr activationExtra 'sleep 4')
  guest_on_host
  begin "$new" ACTIVATING
  n=$(epoch)
  on web1 /run/fault-guest door "/run/belay/$n.sock" loris > "$TEST/loris" < /dev/null 2>&1 3>&- &
  for kind in garbage truncated oversized unknown; do
    on web1 timeout 10 /run/fault-guest door "/run/belay/$n.sock" $kind > "$TEST/door" 2>&1
    check "C4 $kind: an answer or the door, and soon ($(tail -n1 "$TEST/door"))" grep -qE 'bytes of answer|door' "$TEST/door"
  done
  belay_wait
  is "C4 the deployment goes on as if nothing were" "$RC" 0
  is "C4: the agent was not restarted" "$(agent_log | grep -c 'transaction .*: ')" 1
  oracle web1 COMMITTED "$new" $((gen + 1))
}

row_C5() {
  local n
  guest_on_host
  # shellcheck disable=SC2016
  on web1 sh -c 'mkdir -p /tmp/belay && chmod 777 /tmp/belay && setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "mkdir -p /tmp/belay/txn; echo kill > /tmp/belay/point; mkdir -p /run/belay/x" 2> /dev/null'
  waiting c5 8
  n=$(epoch)
  nobody() { on web1 setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
  nobody /run/fault-guest door "/run/belay/$n.sock" truncated > "$TEST/door" 2>&1
  like "C5 nobody finds the door shut" "$TEST/door" 'door is shut'
  on web1 chmod 755 /run/belay
  on web1 chmod 666 "/run/belay/$n.sock"
  nobody /run/fault-guest door "/run/belay/$n.sock" oversized > "$TEST/door" 2>&1
  check "C5 nor is he let in where somebody opened it" grep -q "user 65534 at the socket" "$(newest_txn web1)/agent.log"
  check_not "C5 nobody reads the journal" nobody cat "/var/lib/belay/txn/$n/state"
  check_not "C5 nobody reads the key" nobody cat "/var/lib/belay/txn/$n/key"
  wait_for 30 newer_is ROLLED_BACK
  on web1 rm -rf /tmp/belay
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_C6() {
  SUCCESS_TIMEOUT=20
  new=$(new c6 --argstr activationExtra 'sleep 4')
  begin "$new" ACTIVATING
  guest "$(newest_txn web1)/key" - 0 -o ControlPath=none
  like "C6 before the activation has ended" "$OUT" 'refused: too early'
  belay_wait
  is "C6: confirmed in its time" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}

# The proof comes within milliseconds of the deadline. FAULT_C7 times (500 would take an hour).
row_C7() {
  local i ms told want
  for ((i = 0; i < ${FAULT_C7:-4}; i++)); do
    ms=$((i * 7 % 29 - 14))
    waiting "c7n$i" 3
    guest "$KEY" - $(($(field deadline_boot_ns) + ms * 1000000)) -o ControlPath=none
    told=$(tail -n 1 "$OUT")
    if [ "$RC" = 0 ]; then want=COMMITTED; else want=ROLLED_BACK; fi
    check "C7 $ms ms from the deadline ($told): both sides agree" wait_for 30 newer_is $want
    if [ $want = COMMITTED ]; then old=$new gen=$((gen + 1)); fi
    oracle web1 $want "$old" "$gen"
    adopt
  done
  # the challenge was given in time
  waiting c7late 3
  guest "$KEY" - $(($(field deadline_boot_ns) + 400000000)) -o ControlPath=none
  like "C7 400 ms behind the deadline: told that it is too late" "$OUT" '^refused: too late'
  wait_for 30 newer_is ROLLED_BACK
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_C8() {
  new=$(new c8)
  inject after-CONFIRMED sleep
  once_in CONFIRMED cut_line
  ( wait_for 60 newer_is 'CONFIRMED|COMMITTING'; sleep 5; mend_line ) 3>&- &
  deploy web1="$new"
  is "C8 the answer to the confirmation is lost: told as it is" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}

row_C9() {
  local home=$TB_STATE/ctl/home/.ssh users key before
  before=$(state_of web1)
  # a key with a passphrase and no agent
  cp "$home/id_ed25519" "$TEST/key"
  ssh-keygen -q -p -N secret -f "$home/id_ed25519"
  deploy web1="$(new c9)"
  install -m 600 "$TEST/key" "$home/id_ed25519"
  is "C9 a key with a passphrase: exit code" "$RC" 1
  like "C9 a key with a passphrase: says why" "$OUT" 'reason: it accepts none of our keys'
  oracle web1 "$before" "$old" "$gen"
  # sudo that asks for a password, and one that wants a terminal
  key=$(cat "$TB_CACHE/id_ed25519.pub")
  users="[ { name = \"ann\"; authorizedKeys = [ \"$key\" ]; sudo = true; } { name = \"bob\"; authorizedKeys = [ \"$key\" ]; } ]"
  commits "C9 users with sudo and without" "$(new c9users --arg users "$users")"
  HOST_web1=bob@web1
  refused "C9 sudo asks for a password" 'sudo wants a password' "$(new c9)"
  HOST_web1=ann@web1
  on web1 sh -c 'echo "Defaults:ann requiretty" >> /etc/sudoers'
  refused "C9 sudo wants a terminal" 'sudo wants a (password|terminal)|must have a tty|a terminal is required' "$(new c9)"
  spoilt=1
}

rows "$@"
