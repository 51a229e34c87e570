# shellcheck shell=bash
# Sourced first by every test here: `. "$(dirname "$0")/lib.sh"`. The real belay, with no network
# and no host: a root folder of the test's own with an empty /nix and /run, a home, and a PATH that begins
# with fake tools. Tests speak TAP; where such a root cannot be made they are skipped.
#
#   run deploy --fleet-json fleet.json    # RC, and the files out and err
#   exits "refuses it" 2                  # status of the last run
#   says "names the file" 'fleet.json: '  # one line of err has this text; `told`: of out
set -u
# a terminal's settings and the caller's are not the test's
unset NIX_PATH NIX_CONFIG NIX_REMOTE NIX_SSHOPTS XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
unset SSH_AUTH_SOCK NO_COLOR MAKEFLAGS
export LC_ALL=C.UTF-8 TERM=dumb

if [ -z "${CLI_INSIDE:-}" ]; then
  # ---- outside: the folder, and the root made of links to the machine's own folders
  here=$(cd "$(dirname "$0")" && pwd -P)
  root=$(cd "$here/../.." && pwd -P)
  tmp=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/belay-cli.XXXXXX")" && pwd -P)
  trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  : "${BELAY:=$root/build/belay}"
  mkdir "$tmp/root"
  export CLI_INSIDE=$tmp CLI_ROOT=$root BELAY
  name=--user; map=--map-root-user
  if [ "$(id -u)" = 0 ]; then name=--mount; map=--mount; fi
  # shellcheck disable=SC2016  # the inner shell's own
  unshare $name $map --mount --pid --fork --kill-child sh -ec '
    mount --make-rprivate / 2> /dev/null || true
    mount -t tmpfs -o mode=755 tmpfs "$1/root"
    for f in /* ; do
      case $f in /nix | /run | /proc) continue ;; esac
      if [ -L "$f" ]; then cp -d "$f" "$1/root$f"
      elif [ -d "$f" ]; then mkdir "$1/root$f"; mount --rbind "$f" "$1/root$f"
      fi
    done
    mkdir -p "$1/root/nix/store" "$1/root/nix/var/nix" "$1/root/run" "$1/root/proc"
    # of the new process namespace: tests look for processes in it, and so do sanitizers
    mount -t proc proc "$1/root/proc"
    : > "$1/made"
    shift
    exec chroot "$CLI_INSIDE/root" "$@"' sh "$tmp" "$(command -v bash)" "$here/$(basename "$0")" "$@" 2> "$tmp/unshare.err" &
  wait $!
  rc=$?
  if [ ! -e "$tmp/made" ]; then
    echo "1..0 # SKIP no root folder of our own: $(head -n 1 "$tmp/unshare.err")"
    exit 0
  fi
  sed 's/^/# /' "$tmp/unshare.err"
  exit "$rc"
fi

# ---- inside
root=$CLI_ROOT tmp=$CLI_INSIDE
export HOME=$tmp/home XDG_STATE_HOME=$tmp/state BELAY_DATADIR=$tmp/share TMPDIR=$tmp/tmp
mkdir -p "$tmp"/{home,state,tmp,bin,fleet,hosts,share/agent/x86_64-linux/bin}
ln -s "$root/nix" "$tmp/share/nix"
echo 'the agent' > "$tmp/share/agent/x86_64-linux/bin/belay-agent"
cd "$tmp/fleet" || exit 1

count=0 failed=0
pass() { count=$((count + 1)); echo "ok $count - ${1//#/}"; }
skip() { count=$((count + 1)); echo "ok $count - ${1//#/} # SKIP $2"; }
fail() { # DESC FILE...: the files are shown
  count=$((count + 1)) failed=$((failed + 1))
  echo "not ok $count - ${1//#/}"; shift
  local file; for file; do [ ! -s "$file" ] || { echo "# ${file##*/}:"; head -c 3000 "$file" | cat -v | sed 's/^/#   /'; }; done
}
check() { # DESC COMMAND...
  local desc=$1; shift
  if "$@" > "$tmp/check.out" 2>&1; then pass "$desc"; else fail "$desc" "$tmp/check.out" "$tmp/out" "$tmp/err"; fi
}
is() { # DESC GOT WANTED
  if [ "$2" = "$3" ]; then pass "$1"; else printf '%s\n' "got '$2', wanted '$3'" | sed 's/^/# /'; fail "$1" "$tmp/out" "$tmp/err"; fi
}
done_testing() { echo "1..$count"; [ $failed = 0 ]; exit; }

# run ARGS...: belay; RC is its status, 124 when it took longer than RUN_LIMIT seconds
run() {
  RC=0
  timeout -k 2 "${RUN_LIMIT:-20}" "$BELAY" "$@" < /dev/null > "$tmp/out" 2> "$tmp/err" || RC=$?
}
exits() { is "$1" "$RC" "$2"; }
in_one_line() { # FILE TEXT...: one line of FILE has all of the texts
  local line text
  while IFS= read -r line; do
    for text in "${@:2}"; do [[ $line == *"$text"* ]] || continue 2; done
    return 0
  done < "$1"
  return 1
}
says() { # DESC TEXT...
  if in_one_line "$tmp/err" "${@:2}"; then pass "$1"; else echo "# wanted in one line:$(printf " '%s'" "${@:2}")"; fail "$1" "$tmp/out" "$tmp/err"; fi
}
told() { # DESC TEXT...
  if in_one_line "$tmp/out" "${@:2}"; then pass "$1"; else echo "# wanted in one line:$(printf " '%s'" "${@:2}")"; fail "$1" "$tmp/out" "$tmp/err"; fi
}
lines_of() { wc -l < "$1" | tr -d ' '; }
# refused DESC TEXT...: status 2, nothing on stdout, one line on stderr that has the texts
refused() {
  local desc=$1; shift
  head -n 3 "$tmp/err" | cat -v | sed 's/^/# /'     # for whoever reads how it sounds
  if [ "$RC" = 2 ] && [ ! -s "$tmp/out" ] && [ "$(lines_of "$tmp/err")" = 1 ] && in_one_line "$tmp/err" "belay: " "$@"; then pass "$desc"
  else echo "# status $RC, wanted 2 and in one line:$(printf " '%s'" "$@")"; fail "$desc" "$tmp/out" "$tmp/err"; fi
}

# real_nix DESC: from here on the Nix of this machine, with a store of the test's own; without one DESC is skipped
real_nix() {
  local why='' version
  rm -f "$tmp/bin/nix" "$tmp/bin/nix-store" "$tmp/bin/nix-daemon"
  hash -r
  command -v nix-instantiate nix-store > /dev/null || why="nix is missing"
  version=$(nix-instantiate --version 2> /dev/null | grep -Eo '[0-9]+\.[0-9]+' | head -n 1)
  [ -n "$why" ] || [[ ${version%%.*} -gt 2 || ${version#*.} -ge 8 ]] || why="nix $version is older than 2.8"
  if [ -n "$why" ]; then skip "$1" "$why"; done_testing; fi
  mkdir "$tmp/conf"
  printf '%s\n' 'substituters =' 'build-users-group =' 'sandbox = false' \
    'experimental-features = nix-command flakes' 'flake-registry =' > "$tmp/conf/nix.conf"
  export NIX_CONF_DIR=$tmp/conf NIX_USER_CONF_FILES='' NIX_REMOTE=local
}

# ---- fleets and systems without Nix

hash_of() { printf '%s' "$1" | sha256sum | tr -d 'a-f' | tr -cd '0-9' | head -c 32; }
path_of() { local h; h=$(hash_of "$1")00000000000000000000000000000000; echo "/nix/store/${h:0:32}-$1"; }
# system NAME: a store path that looks like a NixOS system; prints it
system() {
  local p; p=$(path_of "nixos-system-$1")
  mkdir -p "$p/bin"
  for f in activate bin/switch-to-configuration init nixos-version; do : > "$p/$f"; done
  echo "$p"
}
# fleet FILE NODE=PATH...: NODE_FIELDS, when set, goes into every node
fleet() {
  local file=$1 a sep=''; shift
  {
    printf '{"belayFleet":1,"nodes":{'
    for a; do
      printf '%s"%s":{"host":"%s","system":"x86_64-linux","successTimeout":2,"tags":["all"],"toplevel":{"drvPath":null,"path":"%s"}%s}' \
        "$sep" "${a%%=*}" "${a%%=*}" "${a#*=}" "${NODE_FIELDS:+,$NODE_FIELDS}"
      sep=,
    done
    printf '}}\n'
  } > "$file"
}
# fake NAME: a program on PATH before all others, from standard input
fake() { cat > "$tmp/bin/$1"; chmod +x "$tmp/bin/$1"; }
PATH=$tmp/bin:$PATH
# fake_nix: nix and nix-store that do nothing, and say so as the real ones do
fake_nix() {
  fake nix-store << X
#!/bin/sh
printf '%s\n' "nix-store \$*" >> "$tmp/nix.log"
case \$1 in --add) echo "/nix/store/00000000000000000000000000000000-belay-agent" ;; esac
X
  fake nix << X
#!/bin/sh
printf '%s\n' "nix \$*" >> "$tmp/nix.log"
echo "copying 1 paths..." >&2
X
}
# fake_daemon: a nix-daemon to which every path that exists is valid, a small file without references
fake_daemon() {
  fake nix-daemon << 'X'
#!/usr/bin/python3
import os, struct, sys
def number(): return struct.unpack('<Q', sys.stdin.buffer.read(8))[0]
def text():
    n = number()
    return sys.stdin.buffer.read((n + 7) // 8 * 8)[:n]
out = []
def say(*things):
    for x in things:
        if isinstance(x, int): out.append(struct.pack('<Q', x))
        else: out.append(struct.pack('<Q', len(x)) + x + bytes(-len(x) % 8))
def flush():
    sys.stdout.buffer.write(b''.join(out)); sys.stdout.buffer.flush(); out.clear()
LAST = 0x616c7473
try:
    number(); say(0x6478696f, 0x120); flush()
    number(); number(); number(); say(LAST); flush()
    while True:
        op = number()
        if op in (11, 12): text(); say(LAST, 1)
        elif op == 26:
            there = os.path.lexists(text())
            say(LAST, there)
            if there: say(b'', b'0' * 64, 0, 0, 112, 0, 0, b'')
        else: sys.exit('fake nix-daemon: operation %d' % op)
        flush()
except (struct.error, BrokenPipeError): pass
X
}
