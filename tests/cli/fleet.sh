#!/bin/bash
# Where a fleet comes from and what can be wrong with it: each mistake is one message that names
# file and place, status 2, and no host is asked. The second half needs a real Nix.
. "$(dirname "$0")/lib.sh"
fake ssh << X
#!/bin/sh
echo "\$*" >> "$tmp/ssh.log"
exit 255
X
fake_nix
system=$(system one)
: > "$tmp/ssh.log"

# ---- no fleet
for c in deploy status resume; do
  run $c
  refused "$c where there is no fleet" "no fleet in ." "fleet.nix" "-f FILE" "--flake REF"
done
run abort web1
refused "abort where there is no fleet" "no fleet in ."
run deploy -f nowhere.nix
refused "a fleet file that is not there" "nowhere.nix: No such file or directory"

# ---- the evaluated fleet
json() { cat > fleet.json; }
run deploy --fleet-json nowhere.json
refused "a fleet JSON that is not there" "nowhere.json: No such file or directory"
run deploy --fleet-json .
refused "a fleet JSON that is a folder" "$tmp/fleet"
: > fleet.json
run deploy --fleet-json fleet.json
refused "an empty file" "$tmp/fleet/fleet.json: "
echo '{ "belayFleet": 1,' > fleet.json
run deploy --fleet-json fleet.json
refused "not JSON" "$tmp/fleet/fleet.json: " "line 2"
printf 'PK\003\004\377\000\033[31m' > fleet.json
run deploy --fleet-json fleet.json
refused "not even text" "$tmp/fleet/fleet.json: "
is "not even text: no control bytes reach the terminal" "$(LC_ALL=C grep -c '[^ -~]' "$tmp/err")" 0
echo '{"belayFleet":2,"nodes":{}}' | json
run deploy --fleet-json fleet.json
refused "another version" "fleet.json: " "'belayFleet' is 2; it must be 1"
echo '{"nodes":{}}' | json
run deploy --fleet-json fleet.json
refused "no version" "fleet.json: " "has no 'belayFleet'"
echo '{"belayFleet":1,"nodes":{}}' | json
run deploy --fleet-json fleet.json
refused "no nodes" "fleet.json: " "the fleet has no nodes"
echo '{"belayFleet":1,"nodes":{"web1":{"host":"web1"}}}' | json
run deploy --fleet-json fleet.json
refused "no toplevel" "fleet.json: node web1: has no 'toplevel'"
echo '{"belayFleet":1,"nodes":{"web1":{"host":"-oProxyCommand=x","toplevel":{"path":"'"$system"'"}}}}' | json
run deploy --fleet-json fleet.json
refused "a host that ssh would take for an option" "node web1: 'host' is"
echo '{"belayFleet":1,"nodes":{"web1":{"host":"a","sucessTimeout":1,"toplevel":{"path":"'"$system"'"}}}}' | json
run deploy --fleet-json fleet.json
refused "an unknown key" "node web1: unknown key 'sucessTimeout'"
echo '{"belayFleet":1,"nodes":{"web1":{"host":"a","toplevel":{"path":"/home/me/result"}}}}' | json
run deploy --fleet-json fleet.json
refused "a toplevel outside of the store" "node web1: 'toplevel'" "/nix/store/<hash>-<name>"
NODE_FIELDS='"sshOptions":["ControlPath=/x"]' fleet fleet.json "web1=$system"
run deploy --fleet-json fleet.json
refused "an ssh option that would share connections" "'sshOptions' has \"ControlPath=/x\"; remove it"
NODE_FIELDS='"checks":[{"name":"web","type":"http"}]' fleet fleet.json "web1=$system"
run deploy --fleet-json fleet.json
refused "a check without what it looks at" "fleet.json: node web1: check 'web': has no 'url'"
NODE_FIELDS='"units":{"policy":"listed"}' fleet fleet.json "web1=$system"
run deploy --fleet-json fleet.json
refused "a policy without its units" "node web1: 'units': the policy \"listed\" and a list 'listed' belong together"

# ---- the selection
fleet fleet.json "web1=$system" "web2=$system" "db=$system"
for c in deploy status abort; do
  run $c --fleet-json fleet.json wbe1
  refused "$c: an unknown host, with the nearest" "no node matches 'wbe1'; did you mean 'web1'?"
done
run deploy --fleet-json fleet.json --on 'mail-*'
refused "a glob that matches nothing, with what there is" "no node matches 'mail-*'" "web1, web2, db"
run deploy --fleet-json fleet.json @al
refused "an unknown tag, with the nearest" "no node matches '@al'; did you mean '@all'?"
run deploy --fleet-json fleet.json --on web1 '!nope'
refused "an unknown name to be left out" "no node matches '!nope'"
run deploy --fleet-json fleet.json --on ''
refused "an empty selection" "the selection is empty"
run deploy --fleet-json fleet.json '!@all'
refused "a selection that leaves nothing" "leaves no node"
run deploy --fleet-json fleet.json --on web1,@
refused "a tag without a name" "a name is missing behind '@'"

printf '{"belayFleet":1,"nodes":{"a":{"host":"h","toplevel":{"path":"%s"}},"b":{"host":"h","toplevel":{"path":"%s"}},"c":{"host":"h","sshOptions":["Port=23"],"toplevel":{"path":"%s"}}}}' \
  "$system" "$system" "$system" > twice.json
run deploy --fleet-json twice.json
refused "two nodes of one host" "a and b are the same host, h: deploy one of them"
run deploy --fleet-json twice.json a c
exits "two ports of one address are two hosts" 1
: > "$tmp/ssh.log"

# ---- a toplevel that is none, and programs that are missing
not=$(path_of hello-2.12); mkdir -p "$not"
fleet fleet.json "web1=$system" "web2=$not"
run deploy --fleet-json fleet.json
refused "a toplevel that is no NixOS system" "node web2: $not is not a NixOS system" "it has no activate" "config.system.build.toplevel"
fleet fleet.json "web1=$system"
rm "$tmp/share/agent/x86_64-linux/bin/belay-agent"
run deploy --fleet-json fleet.json
refused "no agent for the host" "no agent at $tmp/share/agent/x86_64-linux" "install"
echo agent > "$tmp/share/agent/x86_64-linux/bin/belay-agent"
echo '{ nodes = { }; }' > f.nix
rm "$tmp/share/nix"
run deploy -f f.nix
refused "no Nix library" "Nix library is not in $tmp/share" "BELAY_DATADIR"
ln -s "$root/nix" "$tmp/share/nix"
mkdir "$tmp/only"
for p in sh timeout; do ln -s "$(command -v "$p")" "$tmp/only/$p"; done
PATH=$tmp/only run deploy -f f.nix
refused "no Nix on this machine" "Nix is needed on this machine"
is "no host was asked in all this" "$(cat "$tmp/ssh.log")" ""

# ---- with a real Nix
real_nix "fleet files"

printf '{\n  nodes.web1 = {\n    host = "web1";;\n  };\n}\n' > fleet.nix
run deploy
refused "a syntax error names file and line" "syntax error" "$tmp/fleet/fleet.nix:3"
printf '{\n  nodes.web1 = { host = nothing; };\n}\n' > fleet.nix
run deploy
refused "a name that there is not" "undefined variable 'nothing'" "$tmp/fleet/fleet.nix:2"
printf '{\n  nodes.web1 = {\n    sucessTimeout = 3;\n    toplevel = "%s";\n  };\n}\n' "$system" > fleet.nix
run deploy
refused "an option that there is not, with the nearest and its line" "sucessTimeout" "did you mean 'successTimeout'" "fleet.nix:3"
printf '{\n  nodes.web1 = {\n    toplevel = "%s";\n    checks.web = { type = "http";\n      prot = 80; };\n  };\n}\n' "$system" > fleet.nix
run deploy
refused "an option that a check has not" "node web1: check" "web" "of type" "there is no option" "prot" "fleet.nix:5"
echo '{ nodes.web1 = { configuration = { }; }; }' > fleet.nix
run deploy
refused "a configuration where there is no nixpkgs" "the fleet has modules or 'configuration' in it" "set defaults.nixpkgs"
echo '{ nodes.web1 = { host = "web1"; }; }' > fleet.nix
run deploy
refused "no system at all" "node web1: has no system to deploy"
echo '{ x = 1; }' > fleet.nix
run deploy
refused "not a fleet" "has no 'nodes'"

mk() { # NAME SCRIPT: a derivation as Nix text
  printf 'derivation { name = "%s"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "PATH=/bin:/usr/bin; %s" ]; }' "$1" "$2"
}
echo "{ nodes.web1 = { host = \"web1\"; toplevel = $(mk broken 'exit 7'); }; }" > fleet.nix
run deploy
exits "a system that does not build: status 1" 1
says "a system that does not build: says so" "belay: build: broken failed"
says "a system that does not build: why" "build: broken failed: builder for '/nix/store/" "broken.drv' failed with exit code 7"
echo "{ nodes.web1 = { host = \"web1\"; toplevel = $(mk hello 'mkdir \$out'); }; }" > fleet.nix
run deploy
exits "a derivation that is no system: status 2" 2
says "a derivation that is no system: the node, the path, the remedy" "belay: node web1: /nix/store/" "-hello is not a NixOS system" "config.system.build.toplevel"
is "still no host was asked" "$(cat "$tmp/ssh.log")" ""

# ---- good ones: the folder's, a file, a flake; ssh is reached
good="{ nodes.web1 = { host = \"web1\"; toplevel = $(mk nixos-system-web1 'mkdir -p \$out/bin; cd \$out; touch activate init nixos-version bin/switch-to-configuration'); }; }"
reaches() { # DESC ARGS...
  local desc=$1; shift
  : > "$tmp/ssh.log"
  run "$@"
  exits "$desc: read, built, and ssh fails" 1
  check "$desc: ssh was called for web1" grep -q -- '-- web1 ' "$tmp/ssh.log"
}
echo "$good" > fleet.nix
reaches "fleet.nix" deploy
check "no root of the build is left" sh -c "! find '$tmp/state' -name 'root*' | grep ."
mv fleet.nix default.nix; reaches "default.nix" deploy
mv default.nix other.nix; reaches "-f FILE" deploy -f other.nix
sed "s|^|import $root { nixpkgs = null; } |" other.nix > fleet.nix
reaches "through the library" deploy web1
reaches "status" status
rm fleet.nix
if command -v git > /dev/null && nix flake --help > /dev/null 2>&1; then
  sed 's/builtins.currentSystem/"x86_64-linux"/; s/^/{ outputs = { self }: { belay = /; s/$/; }; }/' other.nix > flake.nix
  git init -q . && git add flake.nix
  reaches "flake.nix" deploy
  reaches "--flake REF" deploy --flake "path:$tmp/fleet"
  sed 's/builtins.currentSystem/"x86_64-linux"/; s/host = "web1"; toplevel/config.system.build.toplevel/
    s/^{ nodes/{ outputs = { self }: { nixosConfigurations/; s/$/; }/' other.nix > flake.nix; git add flake.nix
  reaches "a flake of nixosConfigurations" deploy
  says "it says what it reads" "reading nixosConfigurations from $tmp/fleet"
  pure=$(mk nixos-system-web1 'mkdir -p \$out/bin; cd \$out; touch activate init nixos-version bin/switch-to-configuration')
  pure=${pure/builtins.currentSystem/\"x86_64-linux\"}
  a_script='packages.x86_64-linux.deploy = derivation { name = "deploy"; system = "x86_64-linux"; builder = "/bin/sh"; }'
  outputs() { echo "{ outputs = { self }: { $1 }; }" > flake.nix; git add flake.nix; }
  outputs "$a_script; nixosConfigurations.web1.config.system.build.toplevel = $pure;"
  reaches "a flake with a package of the name deploy" deploy
  says "the package is not taken for deploy-rs's output" "reading nixosConfigurations from $tmp/fleet"
  outputs "colmenaHive = { __schema = \"v0.5\"; nodes.web1.config = { system.build.toplevel = $pure;
    deployment = { targetUser = null; keys.tls.text = throw \"hunter2\"; }; }; }; nixosConfigurations.other = throw \"other\";"
  reaches "a flake of colmena" deploy
  says "it says that it reads colmena's" "reading colmenaHive from $tmp/fleet"
  check "no text of a key is shown" sh -c "! grep -r hunter2 '$tmp/out' '$tmp/err' '$tmp/state'"
  outputs "deploy = { sshOpts = [ \"-p\" \"2222\" ]; nodes.web1 = { hostname = \"web1\"; profiles.system.path = derivation {
    name = \"activatable-nixos-system-web1\"; system = \"x86_64-linux\"; builder = throw \"the wrapper is built\";
    pkgs = builtins.toJSON [ { paths = [ ($pure) ]; priority = 5; } ]; }; }; };"
  reaches "a flake of deploy-rs" deploy
  says "it says that it reads deploy-rs's" "reading deploy from $tmp/fleet"
  check "deploy-rs's options for ssh are used" grep -q "Port=2222" "$tmp/ssh.log"
  echo '{ outputs = { self }: { nixosConfigurations.web1 = { }; }; }' > flake.nix; git add flake.nix
  run deploy
  exits "something else in nixosConfigurations" 2
  says "something else in nixosConfigurations: what" "attribute 'config' missing"
  echo '{ outputs = { self }: { }; }' > flake.nix; git add flake.nix
  run deploy
  refused "a flake without a fleet" "$tmp/fleet: the flake has none of the outputs 'belay'" "name a fleet file with -f"
else
  skip "flakes" "no git, or a nix without flakes"
fi
done_testing
