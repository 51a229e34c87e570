#!/bin/bash
# The ways that users know: `nix-build default.nix && ./result`, `belay deploy` in a folder with
# fleet.nix, and a flake with the output `belay`, each with real derivations built on the way.
. "$(dirname "$0")/lib.sh"

up web1 11
dir=$TEST/fleet
mkdir -p "$dir"
# toplevel VERSION: the expression of a system of web1, as build-system makes it
toplevel() {
  printf 'import %s/nix/toplevel.nix { hostName = "web1"; address = "10.77.0.13/16"; version = "%s"; authorizedKeys = "%s"; }' \
    "$TB" "$1" "$(cat "$TB_STATE/ctl/home/.ssh/id_ed25519.pub")"
}
nodes() { printf '{ defaults = { successTimeout = 20; switchTimeout = 60; }; nodes.web1 = { host = "root@web1"; toplevel = %s; }; }' "$(toplevel "$1")"; }

# the first seed: nix-build, then ./result
printf 'import %s/. { } %s\n' "$ROOT" "$(nodes seed)" > "$dir/default.nix"
check "nix-build of the fleet" ctl sh -c "cd '$dir' && nix-build default.nix"
next_out
check "./result deploys" timeout 60 "$TB/ctl" sh -c "cd '$dir' && BELAY='$BELAY' ./result"
new=$(on web1 readlink /run/current-system)
is "its system runs" "$(on web1 cat /run/current-system/nixos-version)" seed
oracle web1 COMMITTED "$new" 2
check "nix-build -A web1" ctl sh -c "cd '$dir' && nix-build -A web1 default.nix"
check "./result of one node: nothing to do" timeout 60 "$TB/ctl" sh -c "cd '$dir' && BELAY='$BELAY' ./result"
rm -f "$dir/result" "$dir/default.nix"

# belay deploy in a folder: evaluates, builds, copies, switches, confirms
nodes folder > "$dir/fleet.nix"
next_out
check "belay deploy in a folder with fleet.nix" timeout 60 "$TB/ctl" sh -c "cd '$dir' && '$BELAY' deploy"
is "its system runs" "$(on web1 cat /run/current-system/nixos-version)" folder
oracle web1 COMMITTED "$(profile_of web1)" 3
sed -i 's/toplevel = import/configuration = import/' "$dir/fleet.nix"
belay deploy -f "$dir/fleet.nix"
is "a configuration and no nixpkgs: exit code" "$RC" 2
like "a configuration and no nixpkgs: says so" "$OUT" "'configuration' in it, for which nixpkgs is needed"
rm -f "$dir/fleet.nix"

# a flake: pure, so that everything it uses is inside
mkdir -p "$dir/flake"
cp -r "$TB/nix" "$dir/flake/systems"
cp -r "$ROOT/nix" "$dir/flake/belay"
cp "$ROOT/default.nix" "$dir/flake/"
printf '{ outputs = { self }: { belay = %s; }; }\n' "$(nodes flake | sed "s|import $TB/nix/|import ./systems/|")" > "$dir/flake/flake.nix"
belay deploy --flake "path:$dir/flake"
is "belay deploy --flake" "$RC" 0
is "its system runs" "$(on web1 cat /run/current-system/nixos-version)" flake
oracle web1 COMMITTED "$(profile_of web1)" 4
done_testing
