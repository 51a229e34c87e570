#!/bin/bash
# nixos-rebuild's verbs with its flags, for a host over ssh: the command that many have in their notes, word
# for word, then each verb, and the way back.
. "$(dirname "$0")/lib.sh"

up web1 11
dir=$TEST/flake
mkdir -p "$dir"
cp -r "$TB/nix" "$dir/systems"
# configuration VERSION [MORE]: the flake has it as nixosConfigurations.web1 and .other
configuration() {
  cat > "$dir/flake.nix" << X
{ outputs = { self }: let
    system = version: { options = { }; config.system.build.toplevel = import ./systems/toplevel.nix { hostName = "web1";
      address = "10.77.0.13/16"; inherit version; authorizedKeys = "$(cat "$TB_STATE/ctl/home/.ssh/id_ed25519.pub")"; ${2:-} }; };
  in { nixosConfigurations = { web1 = system "$1"; other = system "other"; broken = throw "not evaluated"; }; };
}
X
}
version_of() { on web1 cat /run/current-system/nixos-version; }
unique=$(date +%s)-$$ # what no deployer's store has seen

# ---- the seed's command
configuration "seed-$unique"
check "the command of the second seed, word for word" belay --flake "path:$dir#web1" --build-host root@web1 \
  --target-host root@web1 --fast --use-remote-sudo switch
is "its system runs" "$(version_of)" "seed-$unique"
seed=$(profile_of web1)
oracle web1 COMMITTED "$seed" 2
check_not "it was built on the host, and never here" ctl nix-store --check-validity "$seed"

# ---- without a name: the host's own
configuration "named"
check "switch: the host's name is the configuration's" belay switch --flake "path:$dir" --target-host root@web1
is "switch: its system runs" "$(version_of)" named
named=$(profile_of web1)
oracle web1 COMMITTED "$named" 3
check "switch: once more" belay switch --flake "path:$dir" --target-host root@web1
like "switch: nothing to do" "$OUT" "Nothing to do"
belay switch --flake "path:$dir#wbe1" --target-host root@web1
is "a name that there is not: status" "$RC" 2
like "a name that there is not: the nearest" "$OUT" "no node matches 'wbe1'; did you mean 'web1'?"

# ---- test, and then switch
configuration "tested"
check "test" belay test --flake "path:$dir" --target-host root@web1
is "test: its system runs" "$(version_of)" tested
is "test: the profile is as before" "$(profile_of web1)" "$named"
is "test: the transaction ended well" "$(state_of web1)" COMMITTED
is "test: what boots is as before" "$(default_of web1)" "$named"
check "test: once more" belay test --flake "path:$dir" --target-host root@web1
like "test: nothing to do" "$OUT" "Nothing to do"
tested=$(on web1 readlink /run/current-system)
PLAN='"checks":[{"name":"no","type":"command","command":"false","retries":0}]'
deploy web1="$tested"
is "a switch to what was tested fails: status" "$RC" 3
oracle web1 ROLLED_BACK "$named" 3
unset PLAN
check "test again" belay test --flake "path:$dir" --target-host root@web1
check "what was tested is switched to" belay switch --flake "path:$dir" --target-host root@web1
oracle web1 COMMITTED "$tested" 4
is "the way back from it is what was committed before" "$(on web1 readlink /nix/var/nix/gcroots/belay/previous)" "$named"
configuration "lost"
check "test: another one" belay test --flake "path:$dir" --target-host root@web1
configuration "other"
belay switch --flake "path:$dir" --target-host root@web1
is "over what was tested no other system is switched to" "$RC" 1
like "it says why" "$OUT" "runs .* but would boot"
boots=$(boots web1)
on web1 systemctl reboot > /dev/null 2>&1
check "a reboot ends the test" comes_back web1 "$boots"
is "a reboot ends the test: the old system" "$(version_of)" tested
baseline web1

belay test --flake "path:$dir" --target-host root@web1 --force-drift
like "a test does not make the boot default" "$OUT" "a test leaves that as it is"

# ---- a test that cuts the host off
configuration "cut" 'sshdEnable = false;'
belay test --flake "path:$dir" --target-host root@web1
is "a test that cuts the host off: rolled back" "$RC" 3
oracle web1 ROLLED_BACK "$tested" 4

# ---- boot
configuration "later"
check "boot" belay boot --flake "path:$dir" --target-host root@web1
is "boot: the old system runs on" "$(version_of)" tested
later=$(profile_of web1)
is "boot: the new one boots" "$(default_of web1)" "$later"
boots=$(boots web1)
on web1 systemctl reboot > /dev/null 2>&1
check "boot: it comes up" comes_back web1 "$boots"
is "boot: it runs" "$(version_of)" later
baseline web1

# ---- rollback, and the generations
check "switch --rollback" belay switch --rollback --target-host root@web1
is "switch --rollback: the generation before" "$(version_of)" tested
oracle web1 COMMITTED "$tested" 6
check "list-generations" belay list-generations --target-host root@web1
like "list-generations: the current one" "$OUT" '^6 current +20[0-9-]+ [0-9:]+ +tested '
like "list-generations: an older one" "$OUT" '^5 +20[0-9-]+ [0-9:]+ +later '
is "list-generations --json" "$("$TB/ctl" "$BELAY" list-generations --json --target-host root@web1 |
  jq -c 'map([.generation, .nixosVersion, .current])')" \
  "[[6,\"tested\",true],[5,\"later\",false],[4,\"tested\",false],[3,\"named\",false],[2,\"seed-$unique\",false],[1,\"$(on web1 cat /nix/var/nix/profiles/system-1-link/nixos-version)\",false]]"

# ---- build and dry-activate change nothing
configuration "built"
mkdir "$TEST/here"
check "build" "$TB/ctl" sh -c "cd '$TEST/here' && '$BELAY' build --flake 'path:$dir#other'"
is "build: ./result" "$(cat "$TB_STATE/ctl$(readlink "$TEST/here/result")/nixos-version" 2> /dev/null || ctl cat "$(readlink "$TEST/here/result")/nixos-version")" other
check "dry-activate" belay dry-activate --flake "path:$dir" --target-host root@web1
like "dry-activate: what the host's switch-to-configuration says" "$OUT" "would"
is "dry-activate: nothing was changed" "$(version_of)" tested
oracle web1 COMMITTED "$tested" 6

belay dry-activate --flake "path:$dir#other" --target-host root@10.77.0.250
is "dry-activate of a host that is not there" "$RC" 1
like "dry-activate of a host that is not there: which, and what to do" "$OUT" '^belay: other: .*; look whether it is up'

# ---- a file that git does not know
if command -v git > /dev/null; then
  git -C "$dir" init -q && git -C "$dir" add flake.nix systems
  echo '{ }' > "$dir/new.nix"
  sed -i 's/self }: let/self }: let new = import .\/new.nix;/; s/system = version: {/system = version: new \/\/ {/' "$dir/flake.nix"
  belay switch --flake "$dir#web1" --target-host root@web1
  is "an untracked file: status" "$RC" 2
  like "an untracked file: what to do" "$OUT" "'new.nix' is there, but git does not know it.* git add new.nix"
  git -C "$dir" add new.nix
  check "and it is seen then" belay build --flake "$dir#web1"
else
  skip "an untracked file" "git is missing"
fi

# ---- what cannot be
belay switch --flake "path:$dir" --target-host root@web1 --no-confirm
is "--no-confirm for another host" "$RC" 2
like "--no-confirm for another host: why" "$OUT" "--no-confirm is for the host that belay runs on"
belay --flake "path:$dir" --target-host root@web1
like "a verb is missing" "$OUT" "a command is missing"
belay --flake "path:$dir" upgrade-all
like "a verb that there is not" "$OUT" "'upgrade-all' is not a command"
done_testing
