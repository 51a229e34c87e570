# shellcheck shell=bash
# Sourced after lib.sh: a fake ssh on PATH. Host NAME does what the shell script in hosts/NAME
# says, with `fresh` set when it is the confirmation; what it was called with is in ssh.log, its
# number in ssh.pids. Asked for its configuration (-G), of which ssh-G.log tells, it says what the
# script in hosts/NAME.config prints besides name and port. The functions below play an agent.
# shellcheck disable=SC2154  # tmp is lib.sh's
fake_nix
fake_daemon
cat > "$tmp/agent.sh" << 'X'
# frame TYPE [LINE...]: little-endian length and type, zero, key=value lines
frame() {
  local type=$1 text n; shift
  text=$(printf '%s\n' "$@"; echo .); text=${text%.}
  [ $# -gt 0 ] || text=
  n=${#text}
  # shellcheck disable=SC2059  # the bytes of the head
  printf "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)) "$type" 0 0 0)"
  printf '%s' "$text"
}
# take: the next message from standard input: type, text; the frames that a closure is sent in are passed over
take() {
  local head
  while :; do
    head=$(head -c 8 | od -An -v -tu1) || return 1
    # shellcheck disable=SC2086  # words are meant
    set -- $head
    [ $# = 8 ] || return 1
    type=$5
    [ "$type" -ge 64 ] || break
    head -c $(($1 + $2 * 256 + $3 * 65536)) > /dev/null
  done
  text=$(head -c $(($1 + $2 * 256 + $3 * 65536)))
}
# has_all: what is to be copied, if something is, is there already; then the next message
has_all() {
  take
  [ "$type" = 7 ] || return 0
  echo "$host $(value top)" >> "$TMP/copied"
  frame 18
  take
}
value() { sed -n "s/^$1=//p" <<< "$text"; }
banner() { echo 'belay-agent-frames-1'; }
user() { echo "belay-user ${1:-0}"; }
old=/nix/store/11111111111111111111111111111111-nixos-system-old
facts() { printf '%s\n' "system=${1:-$old}" "profile=${1:-$old}" "boot_default=${1:-$old}" generation=7 boot_id=b "${@:2}"; }
lines() { mapfile -t l < <("$@"); }
hello() { # [SYSTEM [LINE...]]
  lines facts "$@"
  user; banner; frame 1 version=1 agent=0.1.0 nonce=00 last_epoch=0 "${l[@]}"
}
state() { # STATE OPEN [LINE...]: system from $runs
  local s=$1 open=$2; shift 2
  lines facts "${runs:-$old}" "epoch=1" "state=$s" "open=$open" "$@"
  frame 20 "${l[@]}"
}
item() { frame 22 "item=$1" "ok=$2" "text=$3" "remedy=$4"; }
# up_to_start: hello, a good preflight, the start; the key is in key.NAME
up_to_start() {
  hello
  has_all; [ "$type" = 2 ] || exit 9
  value key >> "$TMP/keys"
  item disk 1 'room is there' ''
  frame 18
  take; [ "$type" = 3 ] || exit 9
  value key >> "$TMP/keys"; value new > "$TMP/new.$host"
  frame 18 epoch=1 bound_ms=60000 "old=$old"
  state ACTIVATING 1
  frame 21 stream=activation 'line=starting the following units: x.service'
}
new() { cat "$TMP/new.$host"; }
# confirm: the fresh connection's side, up to the ack
confirm() {
  user; banner
  frame 16 nonce=01 epoch=1 boot_id=b "new=$(new)" state=WAIT_CONFIRM
  take; [ "$type" = 17 ] || exit 9
  frame 18
}
# the command itself, as the login shell on the host would get it
run_command() { SSH_CONNECTION='10.0.0.1 1000 10.0.0.2 22' PATH=$TMP/bin:/usr/bin:/bin exec sh -c "$command"; }
refuse_connection() { echo "ssh: connect to host $host port 22: $1" >&2; exit 255; }
X
cat > "$tmp/bin/ssh" << X
#!/bin/bash
export TMP=$tmp
if [ "\$1" = -G ]; then
  echo "\$*" >> "$tmp/ssh-G.log"
  while [ "\$1" != -- ]; do shift; done
  name=\${2#*@}
  echo "hostname \$name"; echo "port 22"
  if [ -e "$tmp/hosts/\$name.config" ]; then . "$tmp/hosts/\$name.config"; fi
  exit
fi
{ printf '%s\x1f' ssh "\$@"; echo; } | tr '\n' ' ' >> "$tmp/ssh.log"; echo >> "$tmp/ssh.log"
echo \$\$ >> "$tmp/ssh.pids"
env >> "$tmp/ssh.env"
while [ "\$1" != -- ]; do shift; done
host=\$2 command=\$3
fresh=; case \$command in *'belay-agent" confirm'*) fresh=1 ;; esac
case \$host in *@*) host=\${host#*@} ;; esac
. "$tmp/agent.sh"
. "$tmp/hosts/\$host"
X
chmod +x "$tmp/bin/ssh"
# host NAME: what it does, from standard input
host() { cat > "$tmp/hosts/$1"; }
good_host() {
  host "$1" << 'X'
if [ -n "$fresh" ]; then
  confirm; runs=$(new)
  state COMMITTING 1
  state COMMITTED 0
  sleep 5
else
  up_to_start
  state WAIT_CONFIRM 1 left_ms=20000
  exec sleep 20
fi
X
}
forget() { rm -f "$tmp"/{ssh.log,ssh.env,ssh.pids,keys,nix.log,copied}; rm -rf "$tmp/state"; : > "$tmp/ssh.log"; : > "$tmp/ssh.pids"; : > "$tmp/copied"; }
# none_left: every ssh that was started has ended; a moment to be reaped is allowed
none_left() {
  local p
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    for p in $(< "$tmp/ssh.pids"); do
      if [ -d "/proc/$p" ] && ! grep -qs '^State:.Z' "/proc/$p/status"; then sleep 0.1; continue 2; fi
    done
    return 0
  done
  echo "still running: $p: $(tr '\0' ' ' < "/proc/$p/cmdline")"
  return 1
}

# rolled_back_host NAME: its activation fails, and it is on its old system again
rolled_back_host() {
  host "$1" << 'X'
if [ -n "$fresh" ]; then
  user; banner; state ROLLED_BACK 0 'reason=the activation ended with status 1'; sleep 5
else
  up_to_start
  state ROLLING_BACK 1
  state ROLLED_BACK 0 'reason=the activation ended with status 1'
  exec sleep 20
fi
X
}
