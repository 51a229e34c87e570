#!/bin/bash
# belay eval and belay show: the document goes back in with --fleet-json; only what is selected; settings without
# systems; and for people a line a setting.
. "$(dirname "$0")/lib.sh"
fake ssh << X
#!/bin/sh
for word; do [ "\$last" = -- ] && echo "\$word" >> "$tmp/ssh.log"; last=\$word; done
exit 255
X
: > "$tmp/ssh.log"
asked() { sort -u "$tmp/ssh.log" | tr '\n' ' '; : > "$tmp/ssh.log"; }
run eval
refused "eval where there is no fleet" "no fleet in ."
run show web1
refused "show where there is no fleet" "no fleet in ."
run eval --help
told "the help says that settings alone cannot be given back" "cannot be given back"
real_nix "eval and show"
command -v jq > /dev/null || { skip "eval and show" "no jq"; done_testing; }

q() { # DESC FILTER WANTED: of what is on standard output
  is "$1" "$(jq -rc "$2" "$tmp/out" 2>&1)" "$3"
}
drv() { # NAME
  printf 'derivation { name = "nixos-system-%s"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "%s" ]; }' "$1" \
    'PATH=/bin:/usr/bin; mkdir -p $out/bin; cd $out; touch activate init nixos-version bin/switch-to-configuration'
}
cat > fleet.nix << END
{
  rollout = { canary = 1; batch = "50%"; };
  nodes.web1 = {
    host = "root@203.0.113.7"; tags = [ "web" "prod" ]; toplevel = $(drv web1);
    successTimeout = 33; sshOptions = [ "Port=2222" ]; units.ignore = [ "a.service" ];
    preActivate = "echo one\necho two"; notes = [ "deployment.keys: not supported, ignored" ];
    checks.api = { type = "http"; url = "http://127.0.0.1/health"; status = 204; hold = 5; };
    checks.ping = { type = "command"; command = "true\nfalse"; where = "deployer"; required = false; };
  };
  nodes.web2 = { tags = [ "web" ]; toplevel = $(drv web2); };
  nodes.off = { enable = false; toplevel = $(drv off); };
  nodes.bad = { enable = false; toplevel = throw "bad was evaluated"; };
}
END

# ---- eval, and back again
run eval
exits "eval" 0
cp "$tmp/out" all.json
q "eval: the enabled nodes" '.nodes | keys' '["web1","web2"]'
q "eval: with their systems" '[.nodes[] | .system, (.toplevel.drvPath | test("^/nix/store/.*-nixos-system-web[12].drv$"))]' '["x86_64-linux",true,"x86_64-linux",true]'
q "eval: with the rest of the document" '[.belayFleet, .rollout.canary, .rollout.batch, .nodes.web1.successTimeout]' '[1,1,"50%",33]'
check "eval: it is for eyes too" grep -qx '  "nodes": {' "$tmp/out"
check "eval: nothing was built" sh -c '! ls -d /nix/store/*-nixos-system-web1'
run eval --fleet-json all.json
exits "back again" 0
check "back again: the same" cmp "$tmp/out" all.json
is "no host was asked" "$(asked)" ""
run deploy --fleet-json all.json
is "back again: it deploys" "$RC,$(asked)" "1,root@203.0.113.7 web2 "
check "back again: what it names was built" test -e "$(jq -r .nodes.web1.toplevel.path all.json)"
run eval --json web2
q "a selection is all there is" '.nodes | keys' '["web2"]'
run eval --on '@web,!web2'
q "by tag and without one" '.nodes | keys' '["web1"]'
run eval off web2
q "one that is not enabled, by its name" '[.nodes.off.enable, (.nodes | length)]' '[false,2]'
run eval --fleet-json all.json web2
q "of a document too" '.nodes | keys' '["web2"]'
run eval nope
refused "a name that there is not" "no node matches 'nope'"

run eval --settings
exits "--settings" 0
q "--settings: no systems" '[.nodes[] | has("toplevel") or has("system")]' '[false,false]'
run eval --settings bad
q "--settings: of a node whose system fails" '.nodes.bad.enable' false
cp "$tmp/out" settings.json
run deploy --fleet-json settings.json bad
refused "--settings: cannot be given back" "node bad: has no 'toplevel'"
run eval --settings --fleet-json all.json
q "--settings: of a document with systems" '[.nodes[] | has("toplevel")]' '[false,false]'

run eval web2 bad
refused "a system that fails" "$tmp/fleet/fleet.nix: node bad: bad was evaluated"
run eval --keep-going web1 bad
exits "--keep-going" 1
says "--keep-going: which is left out, and why" "node bad is left out" "bad was evaluated"
q "--keep-going: the others" '.nodes | keys' '["web1"]'
run eval -k bad
is "--keep-going: none is left" "$RC,$(cat "$tmp/out")" 2,

sed 's/canary = 1/canary = "web1,@prod"/' fleet.nix > canary.nix
run eval -f canary.nix
q "canaries that are named" .rollout.canary 'web1,@prod'
run eval -f canary.nix web1
q "with the canaries: they stay" .rollout.canary 'web1,@prod'
run eval -f canary.nix web2
exits "without the canaries" 0
q "without the canaries: they are left out" '[.rollout.canary, .rollout.batch]' '[null,"50%"]'
says "without the canaries: it is told" "note: rollout.canary is left out: 'web1,@prod'"
cp "$tmp/out" part.json
run deploy --fleet-json part.json
is "without the canaries: the document is good" "$RC,$(asked)" "1,web2 "
if [ -e /dev/full ]; then
  RC=0; "$BELAY" eval web2 > /dev/full 2> "$tmp/err" || RC=$?
  is "a full disk is told" "$RC,$(cat "$tmp/err")" "1,belay: print the document: No space left on device"
fi

# ---- show
run show web1
exits "show" 0
sed 's/^  *//; s/   */|/' "$tmp/out" > got
cat > wanted << END
web1
host|root@203.0.113.7
from|$tmp/fleet/fleet.nix
tags|web prod
enabled|yes
note|deployment.keys: not supported, ignored
successTimeout|33 s
switchTimeout|60 s
bootTimeout|300 s
strategy|auto
reboot|never
rollbackReboot|auto
ignoreFailingSystemdUnits|false
privilegeEscalationCommand|sudo -n
sshOptions|Port=2222
hasFastConnection|false
substituteOnTarget|true
buildOn|deployer
preActivate|echo one
echo two
units|new-failures; ignore: a.service
check api|http, status 204, url http://127.0.0.1/health, where target, timeout 10 s, retries 3, hold 5 s
check ping|command, command true false, where deployer, timeout 10 s, retries 3, not required
END
check "show: a line a setting" diff wanted got
is "show: aligned" "$(sed 1d "$tmp/out" | grep -vc '^  .\{26\}  [^ ]')" 0
run show off bad
is "show: several, and no system is evaluated" "$RC,$(grep -c '^[a-z]' "$tmp/out")" 0,2
told "show: not enabled" "enabled " "no: it is deployed only by its full name"
run show
is "show: all enabled" "$(grep '^[a-z]' "$tmp/out" | tr '\n' ' ')" "web1 web2 "
run show web2 --system
told "--system: the platform" "platform " " x86_64-linux"
told "--system: the path" "path " "/nix/store/" "-nixos-system-web2"
told "--system: the derivation" "drvPath " "-nixos-system-web2.drv"
run show bad --system
refused "--system: one that fails" "bad was evaluated"
run show web2 web1 --json
is "--json: an object a line" "$(jq -rc '[.name, .host, has("toplevel"), .tags]' "$tmp/out" | sort | tr '\n' ' ')" \
  '["web1","root@203.0.113.7",false,["web","prod"]] ["web2","web2",false,["web"]] '
run show web2 --json --system
q "--json --system" '[.system, (.toplevel | keys)]' '["x86_64-linux",["drvPath","path"]]'
run show web2 --fleet-json all.json
told "a document: where it comes from" "from " "$tmp/fleet/all.json, evaluated before"
check "a document: no system either" sh -c "! grep drvPath '$tmp/out'"
run show nope
refused "show: a name that there is not" "no node matches 'nope'"
printf '{ notes = [ "of the fleet" ]; nodes.a = { toplevel = "%s"; checks.x = { type = "command"; command = "\\t\033[31m"; }; }; }\n' "$(system a)" > odd.nix
run show -f odd.nix
says "notes of the fleet" "note: of the fleet"
is "no control bytes reach the terminal" "$(LC_ALL=C grep -c '[^ -~]' "$tmp/out")" 0
echo '{"belayFleet":1,"nodes":{"a":{"host":"a","toplevel":{"path":"'"$(system a)"'"}}}}' > small.json
run show --fleet-json small.json
is "a document with nothing but the host" "$RC,$(wc -l < "$tmp/out")" 0,4
is "show asks no host" "$(asked)" ""

if command -v git > /dev/null && nix flake --help > /dev/null 2>&1; then
  mkdir flake && cd flake || exit 1
  git init -q .
  echo "{ outputs = { self }: { nixosConfigurations.web1.config.system.build.toplevel = $(drv web1); }; }" > flake.nix
  git add flake.nix
  run show
  told "a flake: the output that is read" "from " "flake $tmp/fleet/flake, output nixosConfigurations"
  run eval
  q "a flake: its document" '.nodes | keys' '["web1"]'
else
  skip "flakes" "no git, or a nix without flakes"
fi
done_testing
