# shellcheck shell=bash
# For the tests of the Nix library: a store of its own under a temporary folder, which becomes the current one; TAP;
# fleets that are read or refused.
set -u

if ! command -v nix-instantiate > /dev/null || ! command -v nix-build > /dev/null; then
  echo "1..0 # SKIP nix missing"
  exit 0
fi
version=$(nix-instantiate --version | grep -Eo '[0-9]+\.[0-9]+' | head -n 1)
if [ "${version%%.*}" -lt 2 ] || { [ "${version%%.*}" -eq 2 ] && [ "${version#*.}" -lt 8 ]; }; then
  echo "1..0 # SKIP nix $version is older than 2.8"
  exit 0
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
tmp=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/belay-nix.XXXXXX")" && pwd -P)
# Store paths are read-only.
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

mkdir "$tmp/conf" "$tmp/home" "$tmp/bin"
cat > "$tmp/conf/nix.conf" << END
substituters =
build-users-group =
sandbox = false
experimental-features = nix-command flakes
flake-registry =
END
# A moved store and not a root= one: there, builds need a sandbox and results are not where they say.
export NIX_STORE_DIR=$tmp/store NIX_STATE_DIR=$tmp/var NIX_LOG_DIR=$tmp/log NIX_REMOTE=local
export NIX_CONF_DIR=$tmp/conf NIX_USER_CONF_FILES='' HOME=$tmp/home
# shellcheck disable=SC2034  # for who reads this
program=${BELAY:-$root/build/belay}
unset NIX_PATH NIX_CONFIG XDG_CACHE_HOME XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME BELAY
cd "$tmp" || exit 1

# ---- TAP

count=0
pass() { count=$((count + 1)); echo "ok $count - $1"; }
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }
fail() { # name, then files to show
  count=$((count + 1)); echo "not ok $count - $1"; shift
  local file; for file; do [ ! -e "$file" ] || sed 's/^/# /' "$file"; done
}
check() { # name command...: ok if the command succeeds
  local name=$1; shift
  if "$@" > "$tmp/check.out" 2>&1; then pass "$name"; else fail "$name" "$tmp/check.out"; fi
}

# ---- evaluation

prelude="let t = import $here/toplevel.nix; belay = import $root { nixpkgs = null; }; in"
read_file() { # file: the fleet document on stdout, as belay asks for it
  nix-instantiate --eval --strict --json --read-write-mode "$root/nix/read.nix" --argstr file "$1"
}
holds() { # expression over d, the document in out.json, and its `notes` as belay tells them
  [ "$(nix-instantiate --eval --strict -E \
    "let d = builtins.fromJSON (builtins.readFile $tmp/out.json);
      notes = d.notes ++ builtins.concatMap (n: map (x: \"node \${n}: \${x}\") d.nodes.\${n}.notes) (builtins.attrNames d.nodes);
      in $1" 2> "$tmp/err")" = true ]
}
good() { # name, fleet file text, expression
  echo "$prelude $2" > fleet.nix
  if read_file "$tmp/fleet.nix" > out.json 2> err && holds "$3"; then pass "$1"
  else fail "$1" err out.json; fi
}
wrong() { # the evaluation's status, err: refused with this in one line?
  [ "$1" -ne 0 ] && grep -F -- "error: belay: " err | grep -qF -- "$2"
}
refuses() { # fleet file text, part of the message
  echo "$prelude $1" > fleet.nix
  read_file "$tmp/fleet.nix" > out.json 2> err
  if wrong $? "$2"; then pass "refused: $2"; else fail "refused: $2" err out.json; fi
}
node() { refuses "{ nodes.web1 = { toplevel = t \"a\"; } // { $1 }; }" "$2"; }
