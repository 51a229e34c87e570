#!/bin/bash
# belay init: what is in a folder, what is told of it, and what is written: readable by belay, and never over anything.
. "$(dirname "$0")/lib.sh"

# at NAME: an empty folder, which becomes the current one
at() { mkdir -p "$tmp/fleet/$1" && cd "$tmp/fleet/$1" || exit 1; }
nixos() { # FILE [HOSTNAME]: a NixOS configuration
  mkdir -p "$(dirname "$1")"
  printf '{ config, pkgs, ... }:\n{\n  boot.loader.grub.device = "/dev/vda";\n%s}\n' "${2:+  networking.hostName = \"$2\";
}" > "$1"
}
# kept DESC: the folder's files are as they were at `keep`
keep() { find . -not -path './.git*' -type f -exec sha256sum {} + | sort > "$tmp/before"; }
kept() { find . -not -path './.git*' -type f -exec sha256sum {} + | sort | diff "$tmp/before" - > "$tmp/check.out" && pass "$1" || fail "$1" "$tmp/check.out"; }
fails() { # DESC STATUS TEXT...: one line on stderr, nothing on stdout
  local desc=$1 status=$2; shift 2
  head -n 3 "$tmp/err" | cat -v | sed 's/^/# /'
  if [ "$RC" = "$status" ] && [ ! -s "$tmp/out" ] && [ "$(lines_of "$tmp/err")" = 1 ] && in_one_line "$tmp/err" "belay: " "$@"; then pass "$desc"
  else echo "# status $RC"; fail "$desc" "$tmp/out" "$tmp/err"; fi
}

# ---- nothing to deploy, and folders that are none
at empty
run init
is "an empty folder" "$RC,$(cat "$tmp/out")" 1,
says "an empty folder: what is missing" "belay: $tmp/fleet/empty has neither a fleet nor a NixOS configuration; nothing is written"
says "an empty folder: how to begin" "to begin: " "nixos-generate-config"
says "an empty folder: what to read" "README"
is "an empty folder stays empty" "$(ls -A)" ""
at rubbish
mkdir sub hosts; echo '{ mkDerivation }: mkDerivation { meta.license = 1; }' > default.nix
echo '{ pkgs ? import <nixpkgs> { } }: pkgs.mkShell { }' > shell.nix
printf '\001\377' > a.nix; mkfifo pipe.nix; mkdir folder.nix; ln -s loop.el .#x.nix; : > README
keep
run init
says "a folder of other things" "neither a fleet nor a NixOS configuration"
kept "a folder of other things: nothing is written"
at hardware
nixos hardware-configuration.nix
run init
says "a hardware-configuration.nix alone" "has neither a fleet nor a NixOS configuration"
cd "$tmp/fleet" || exit 1
run init nowhere
fails "a folder that is not there" 2 "belay: nowhere: No such file or directory"
run init rubbish/README
fails "a file" 2 "README: Not a directory"
ln -s nowhere dangling
run init dangling
fails "a link that leads nowhere" 2 "dangling: No such file or directory"
ln -s loop loop
run init loop
fails "a link that leads to itself" 2 "loop: Too many levels of symbolic links"
run init a b
refused "two folders" "'b' is one word too many"
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups true 2> /dev/null; then
  at closed; nixos configuration.nix; chmod 711 "$tmp" "$tmp/fleet"
  nobody() { RC=0; setpriv --reuid=65534 --regid=65534 --clear-groups "$BELAY" init "$@" > "$tmp/out" 2> "$tmp/err" || RC=$?; }
  chmod 0 .; nobody "$PWD"
  fails "a folder that may not be read" 2 "$PWD: Permission denied"
  chmod 755 .; nobody "$PWD"
  fails "a folder that may not be written" 1 "$PWD/fleet.nix: Permission denied"
  chmod 0 configuration.nix; nobody "$PWD"
  fails "a file that may not be read" 2 "$PWD/configuration.nix: Permission denied"
  at part-closed; nixos web1.nix; mkdir -m 0 secrets; chmod 777 .; nobody "$PWD"
  is "a folder beside it that may not be read" "$RC" 0
  at hosts-closed; mkdir hosts; chmod 0 hosts; nobody "$PWD"
  fails "a folder of hosts that may not be read" 2 "hosts" "Permission denied"
  chmod 700 "$tmp"
else
  skip "folders that may not be read" "no root, or no setpriv"
fi

# ---- NixOS configurations: what is written
at one
nixos configuration.nix web1; nixos hardware-configuration.nix; nixos users.nix
run init
exits "a configuration.nix" 0
told "a configuration.nix: what is written" "fleet.nix is written, a fleet of 1 host:"
told "a configuration.nix: its host" "  web1  configuration.nix"
told "a configuration.nix: what to change" "change each \`host\` in it"
told "a configuration.nix: what comes next" "  belay deploy"
cat > "$tmp/wanted" << 'END'
{
  nodes.web1 = {
    host = "root@web1";
    configuration = ./configuration.nix;
  };
}
END
check "a configuration.nix: the file" sh -c "grep -v '^#' fleet.nix | diff '$tmp/wanted' -"
check "a configuration.nix: a comment says what to change" grep -q '^# Change each `host` to' fleet.nix
at etc/nixos
nixos configuration.nix; nixos hardware-configuration.nix
cd "$tmp/fleet" || exit 1
run init etc/nixos
told "one without a name has that of its folder" "  nixos  etc/nixos/configuration.nix"
told "another folder: what comes next" "  belay deploy -f etc/nixos/fleet.nix"
cp -r etc "it's mine"; rm "it's mine/nixos/fleet.nix"
run init "it's mine/nixos/"
told "a folder with a quote" "  belay deploy -f 'it'\\''s mine/nixos/fleet.nix'"
at hosts
nixos hosts/web1/configuration.nix other; nixos hosts/web2/default.nix; nixos hosts/db.nix
nixos hosts/common.nix; nixos hosts/base/default.nix; nixos ours.nix; nixos configuration.nix
sed -i 's|^{$|{ imports = [ ../common.nix ../base ];|' hosts/web1/configuration.nix
mkdir hosts/empty; echo '{ lib }: lib' > hosts/lib.nix; echo x > hosts/README; nixos machines/old/configuration.nix
run init
exits "folders of hosts" 0
is "folders of hosts: each, but what others import" "$(sed -n 's/^  \([^ ]*\)  \(.*\.nix\)$/\1=\2/p' "$tmp/out" | tr '\n' ' ')" \
  "db=hosts/db.nix web1=hosts/web1/configuration.nix web2=hosts/web2/default.nix old=machines/old/configuration.nix "
at several
nixos web1.nix; nixos web2.nix; nixos common.nix; nixos db/configuration.nix; echo '{ }' > data.nix
sed -i 's|^{$|{ imports = [ ./common.nix ];|' web1.nix
run init
is "several configurations" "$(sed -n 's/^  \([^ ]*\)  \(.*\.nix\)$/\1=\2/p' "$tmp/out" | tr '\n' ' ')" \
  "db=db/configuration.nix web1=web1.nix web2=web2.nix "
at odd
nixos 'hosts/a b/configuration.nix'; nixos 'hosts/a-b.nix'; nixos 'hosts/${x}"\.nix'; nixos "hosts/9.nix"
nixos 'hosts/let.nix'; nixos "hosts/$(printf 'x\ny').nix"; nixos 'hosts/büro.nix'
run init
is "odd names" "$RC,$(grep -c '^  [^ ]*  hosts/' "$tmp/out")" 0,7
told "odd names: no line is broken" "x-y " 'hosts/x\x0ay.nix'

# ---- nothing is overwritten
at twice
nixos configuration.nix web1
ln -s "$tmp/elsewhere" fleet.nix
run init
fails "fleet.nix is a link that leads nowhere" 2 "$PWD/fleet.nix is a link that leads nowhere; mend or remove it"
is "nothing is written through it" "$(ls "$tmp/elsewhere" 2> /dev/null)" ""
rm fleet.nix; mkdir fleet.nix
run init
fails "fleet.nix is a folder" 2 "$PWD/fleet.nix is there already and no fleet"
rmdir fleet.nix; echo old > flake.nix; keep
run init --as-flake
[ "$RC" = 2 ] && pass "a flake.nix that is no flake" || fail "a flake.nix that is no flake" "$tmp/err"
kept "a flake.nix that is no flake: left as it is"
rm flake.nix
if [ -e /dev/full ]; then ln -s /dev/full x.nix; run init; is "a device of a Nix file's name" "$RC" 0; rm x.nix; fi
ln -s configuration.nix link.nix; ln -s "$tmp/fleet/several" more; rm fleet.nix
run init
is "links are followed" "$RC,$(grep -c configuration fleet.nix)" 0,1

# ---- with a real Nix
real_nix "init with Nix"
nixpkgs=$root/tests/nix/stub-nixpkgs
nodes_of() { # of the fleet in this folder, by belay
  run eval -I "nixpkgs=$nixpkgs"
  jq -rc '[.nodes[].host] | sort | join(" ")' "$tmp/out"
}
command -v jq > /dev/null || { skip "init with Nix" "no jq"; done_testing; }
cd "$tmp/fleet/one" || exit 1
is "what was written is read: one" "$(nodes_of)" "root@web1"
cd "$tmp/fleet/hosts" || exit 1
is "what was written is read: folders" "$(nodes_of)" "root@db root@old root@web1 root@web2"
cd "$tmp/fleet/several" || exit 1
is "what was written is read: several" "$(nodes_of)" "root@db root@web1 root@web2"
cd "$tmp/fleet/odd" || exit 1
is "what was written is read: odd names" "$(nodes_of | tr ' ' '\n' | wc -l),$RC" 7,0
cd "$tmp/fleet/one" || exit 1
keep
run init -I "nixpkgs=$nixpkgs"
exits "once more" 0
told "once more: it is there" "fleet.nix is a fleet already; nothing needs to be written"
told "once more: its hosts" "  web1  root@web1"
told "once more: what comes next" "  belay deploy"
kept "once more: nothing is written"

system=$(system one)
fleet_text="{ nodes.web1 = { host = \"root@203.0.113.7\"; toplevel = \"$system\"; }; nodes.off = { enable = false; toplevel = \"$system\"; }; }"
at default
echo "$fleet_text" > default.nix; nixos configuration.nix; keep
run init
told "default.nix" "default.nix is a fleet already"
told "default.nix: hosts" "  web1  root@203.0.113.7"
told "default.nix: not enabled" "  off   off  (not enabled)"
told "default.nix: next" "  belay deploy"
kept "default.nix: nothing is written"
at named
echo "$fleet_text" > office.nix
run init
told "a fleet of another name" "office.nix is a fleet already"
told "a fleet of another name: next" "  belay plan -f office.nix"
cd .. || exit 1
run init named
told "in another folder: next" "  belay deploy -f named/office.nix"
at broken
echo '{ nodes.web1 = { host = nothing; }; }' > fleet.nix; keep
run init
fails "a fleet that is broken" 2 "$PWD/fleet.nix" "undefined variable 'nothing'"
kept "a fleet that is broken: nothing is written"
at nixus
cat > nodes.nix << END
# stands for nixus, which makes a derivation of it
let fleet = { nodes.web1 = { }; }; nixus = null; in
{ type = "derivation"; config.deployScript = 1; config.nodes = {
    web1 = { host = "root@web1"; successTimeout = 9; switchTimeout = 9; ignoreFailingSystemdUnits = false; hasFastConnection = false;
      configuration = { system.build.toplevel = "$system"; secrets.files.tls = 1; }; };
  }; }
END
run init
told "a file of nixus" "nodes.nix is a fleet of nixus's, which belay reads as it is; nothing needs to be written"
told "a file of nixus: next" "  belay deploy -f nodes.nix"
says "a file of nixus: what is not honoured" "note: node web1: secrets (tls): not supported, ignored"
at hive
cat > hive.nix << END
{ meta.nixpkgs = import $nixpkgs { };
  web1 = { deployment.targetHost = "203.0.113.8"; deployment.targetUser = "deploy"; };
  web2 = { deployment.targetHost = null; }; }
END
run init
told "hive.nix" "hive.nix is a hive of colmena's, which belay reads as it is"
told "hive.nix: a host" "  web1  deploy@203.0.113.8"
told "hive.nix: without an address" "  web2  web2  (not enabled)"
told "hive.nix: next" "  belay deploy -f hive.nix"

# ---- flakes
if ! command -v git > /dev/null || ! nix flake --help > /dev/null 2>&1; then
  skip "flakes" "no git, or a nix without flakes"
  done_testing
fi
flake() { echo "{ outputs = { self }: { $1 }; }" > flake.nix; git add flake.nix; }
at flake
git init -q .
flake "belay = $fleet_text;"
keep
run init
told "a flake with a fleet" "flake.nix has a fleet already, the output belay; nothing needs to be written"
told "a flake with a fleet: a host" "  web1  root@203.0.113.7"
is "a flake with a fleet: next" "$(grep deploy "$tmp/out" | tail -n 1)" "  belay deploy"
run init --as-flake
told "--as-flake: it is there" "flake.nix has a fleet already"
kept "a flake with a fleet: nothing is written"
(cd .. && run init flake && cp "$tmp/out" "$tmp/other")
check "a flake in another folder: next" grep -qxF "  belay deploy --flake $PWD" "$tmp/other"
echo '{ }: { }' > default.nix
run init
told "behind a default.nix that is no fleet: next" "  belay deploy --flake ."
rm default.nix
flake "nixosConfigurations = { web1.config.system.build.toplevel = \"$system\"; };"
run init
told "nixosConfigurations" "flake.nix has nixosConfigurations, which belay reads as they are"
told "nixosConfigurations: a host" "  web1  web1"
told "nixosConfigurations: addresses" "belay.deploy.host"
told "nixosConfigurations: addresses, or a name for ssh" "or name them in " ".ssh/config"
flake "nixosConfigurations.web1 = { options.belay.deploy = 1; config = { belay.deploy.host = \"x@203.0.113.9\"; system.build.toplevel = \"$system\"; }; };"
run init
told "nixosConfigurations with belay.deploy: a host" "  web1  x@203.0.113.9"
check "nixosConfigurations with belay.deploy: all is known" sh -c "! grep -q ssh/config '$tmp/out'"
flake "colmenaHive = { __schema = \"v0.5\"; nodes.web1.config = { system.build.toplevel = \"$system\"; deployment.targetHost = \"h\"; }; };"
run init
told "colmenaHive" "flake.nix has colmena's output colmenaHive, which belay reads as it is"
told "colmenaHive: a host" "  web1  root@h"
flake "deploy.nodes.web1 = { hostname = \"h\"; sshUser = \"me\"; profiles.system.path = { system = \"x86_64-linux\"; name = throw \"the system was evaluated\"; }; };"
run init
told "deploy" "flake.nix has deploy-rs's output deploy, which belay reads as it is"
told "deploy: a host, and no system" "  web1  me@h"
flake "nixosConfigurations = throw \"no such thing\";"
run init
refused "a flake that is broken" "$PWD: no such thing"
flake "packages = { };"
run init
says "a flake of other things" "neither a fleet nor a NixOS configuration"
nixos web1.nix
run init
told "a flake of other things, and a configuration" "fleet.nix is written, a fleet of 1 host:"
is "and that is read" "$(nodes_of)" "root@web1"
rm fleet.nix
keep
run init --as-flake
fails "a flake of other things is not overwritten" 2 "$PWD/flake.nix is there already and no fleet; it is left as it is"
kept "a flake of other things: left as it is"

mkdir "$tmp/belay"; cp -r "$root"/{nix,flake.nix,default.nix} "$tmp/belay"
rm "$tmp/share/nix"; ln -s "$tmp/belay/nix" "$tmp/share/nix"
at new-flake
git init -q .
nixos 'a b.nix'; nixos web2.nix; echo '{ x.nixpkgs.hostPlatform = 1; }' > hardware-configuration.nix
sed -i 's|^{$|{ imports = [ ];|' web2.nix
run init --as-flake
told "--as-flake" "flake.nix is written, a fleet of 2 hosts:"
told "--as-flake: git" "  git add flake.nix"
check "--as-flake: belay is where it runs from" grep -qF "inputs.belay.url = \"path:$tmp/belay\";" flake.nix
git add .
run eval --override-input nixpkgs "path:$nixpkgs"
is "--as-flake: what was written is read" "$RC,$(jq -rc '[.nodes[].host, .nodes[].system] | join(" ")' "$tmp/out")" \
  "0,root@a-b root@web2 x86_64-linux x86_64-linux"
run init --override-input nixpkgs "path:$nixpkgs"
told "--as-flake: once more" "flake.nix has a fleet already, the output belay"
rm -r "$tmp/belay/flake.nix" flake.nix .git
run init --as-flake
told "--as-flake, where belay's source is not known" "inputs.belay.url to the folder of belay's source"
check "--as-flake without git: no word of it" sh -c "! grep git '$tmp/out'"
done_testing
