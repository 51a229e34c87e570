# shellcheck shell=bash
# Sourced after lib-ssh.sh: four played hosts web1 to web4, as fleet.json has them, that remember what they
# were told, so that they can be deployed to again and again.
# shellcheck disable=SC2034,SC2154  # for whoever sources this; tmp is lib.sh's
a=$(system one)
all=(web1 web2 web3 web4)
before=/nix/store/11111111111111111111111111111111-nixos-system-old
fleet fleet.json "web1=$a" "web2=$a" "web3=$a" "web4=$a"

# What a host does besides is in files: committed.NAME what it committed last, back.NAME why it went back,
# start.log who was started with what, challenges and proofs whose fresh connection came how far.
cat >> "$tmp/agent.sh" << 'X'
running() { cat "$TMP/committed.$host" 2> /dev/null || echo "$old"; }
epoch_now() { grep -c "^$host " "$TMP/start.log"; }
new() { sed -n "s/^$host \([^ ]*\) .*/\1/p" "$TMP/start.log" | tail -n 1; }
say() { # STATE OPEN [LINE...]
  local s=$1 open=$2; shift 2
  lines facts "$(running)" "epoch=$(epoch_now)" "state=$s" "open=$open" "$@"
  frame 20 "${l[@]}"
}
# ready: the work connection as far as that, of a host that knows what it runs
ready() {
  lines facts "$(running)"
  user; banner; frame 1 version=1 agent=0.1.0 nonce=00 "last_epoch=$(epoch_now)" state=COMMITTED open=0 "${l[@]}"
  has_all; [ "$type" = 2 ] || exit 9
  frame 18
}
# begin: up to the start
begin() {
  ready
  take; [ "$type" = 3 ] || exit 9
  echo "$host $(value new) $(value confirm_ms) $(value check | tr '\n ' '.,')" >> "$TMP/start.log"
  rm -f "$TMP/back.$host"
  frame 18 "epoch=$(epoch_now)" bound_ms=60000 "old=$(running)"
  say ACTIVATING 1
}
activating() { local i; for ((i = 0; i < $1; i++)); do sleep 1; say ACTIVATING 1; done; }
go_back() { echo "$1" > "$TMP/back.$host"; say ROLLING_BACK 1; say ROLLED_BACK 0 "reason=$1"; exec sleep 20; }
# waiting: the work connection while the host waits; it ends by an abort
waiting() {
  say WAIT_CONFIRM 1 left_ms=60000
  take || exit 9
  [ "$type" != 5 ] || go_back "$(value reason)"
  exec sleep 20
}
challenge() { frame 16 nonce=01 "epoch=$(epoch_now)" boot_id=b "new=$(new)" state=WAIT_CONFIRM; echo "$host" >> "$TMP/challenges"; }
# asked: the fresh connection: the end, or a challenge
asked() {
  user; banner
  if [ -e "$TMP/back.$host" ]; then say ROLLED_BACK 0 "reason=$(cat "$TMP/back.$host")"; exec sleep 5; fi
  challenge
  take || exit 9
  if [ "$type" = 5 ]; then go_back "$(value reason)"; fi
  echo "$host" >> "$TMP/proofs"
  frame 18
  new > "$TMP/committed.$host"
  say COMMITTING 1; say COMMITTED 0
  exec sleep 5
}
X
good() { local h; for h; do slow "$h" 0; done; }
# slow NAME SECONDS, bad NAME SECONDS: waits, or goes back by itself, after so long
slow() { echo "if [ -n \"\$fresh\" ]; then asked; else begin; activating $2; waiting; fi" | host "$1"; }
bad() { echo "if [ -n \"\$fresh\" ]; then asked; else begin; activating $2; go_back 'unit x.service has failed'; fi" | host "$1"; }
anew() {
  forget
  rm -f "$tmp"/{committed,back}.* "$tmp"/{again,ssh-G.log}
  for f in start.log proofs challenges; do : > "$tmp/$f"; done
}
started() { cut -d' ' -f1 "$tmp/start.log" | sort | paste -sd' '; }
in_order() { cut -d' ' -f1 "$tmp/start.log" | paste -sd' '; }
# line_of TEXT: the number of the first line of err that has it
line_of() { grep -nF -m1 -- "$1" "$tmp/err" | cut -d: -f1; }
