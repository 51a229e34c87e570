#!/bin/bash
# Evaluation with the machine's own Nix: no more than what is asked for, several at once within a bound, one
# node's failure, Nix's options and warnings, and what is remembered of flakes.
. "$(dirname "$0")/lib.sh"
fake ssh << X
#!/bin/sh
echo "\$*" >> "$tmp/ssh.all"
for word; do [ "\$last" = -- ] && echo "\$word" >> "$tmp/ssh.log"; last=\$word; done
exit 255
X
real_nix "evaluation"
system=$(system one)

# Both of Nix's programs, with a log: + and - at begin and end of an evaluation, and their arguments.
log_nix() {
  local p real
  for p in nix nix-instantiate; do
    real=$(command -v $p)
    fake $p << X
#!/bin/sh
echo "+ $p \$* " | tr '\n' ' ' | sed 's/^\(.\{120\}\).*\(.\{400\}\)$/\1 ... \2\n/; t; s/$/\n/' >> "$tmp/nix.log"
${NIX_PAUSE:+sleep $NIX_PAUSE}
$real "\$@"; rc=\$?
echo "-" >> "$tmp/nix.log"
exit \$rc
X
  done
  hash -r
}
PATH_BEFORE=$PATH
log_nix
asked() { # the hosts that ssh was called for
  sort -u "$tmp/ssh.log" | tr '\n' ' '
}
try() { : > "$tmp/ssh.log"; : > "$tmp/nix.log"; run "$@"; }
starts() { grep -c '^+' "$tmp/nix.log"; }
most_at_once() { awk '/^\+/ { n++; if (n > max) max = n } /^-/ { n-- } END { print max + 0 }' "$tmp/nix.log"; }

# ---- hosts of two kinds in one run, each with its own agent
mkdir -p "$tmp/share/agent/aarch64-linux/bin" "$tmp/share/agent/x86_64-linux/bin"
echo 'an agent for arm' > "$tmp/share/agent/aarch64-linux/bin/belay-agent"
echo 'an agent' > "$tmp/share/agent/x86_64-linux/bin/belay-agent"
cat > mixed.json << END
{ "belayFleet": 1, "nodes": { "arm": { "host": "arm", "system": "aarch64-linux", "toplevel": { "path": "$system" } },
  "pc": { "host": "pc", "system": "x86_64-linux", "toplevel": { "path": "$system" } } } }
END
try deploy --fleet-json mixed.json
agent_of() { grep -e "-- $1 " "$tmp/ssh.all" | grep -o '/nix/store/[a-z0-9]*-belay-agent' | sort -u; }
is "two kinds of hosts: both are asked" "$(asked)" "arm pc "
is "the agent for arm" "$(cat "$(agent_of arm)/bin/belay-agent")" "an agent for arm"
is "the agent for the other" "$(cat "$(agent_of pc)/bin/belay-agent")" "an agent"
sed -i 's/aarch64/riscv64/' mixed.json
try deploy --fleet-json mixed.json
refused "a kind of host without an agent" "node arm: no agent at $tmp/share/agent/riscv64-linux" "install"
is "nobody is asked then" "$(asked)" ""

# ---- no more than what is asked for
cat > fleet.nix << END
{
  nodes.web1 = { tags = [ "web" ]; toplevel = "$system"; };
  nodes.web2 = { toplevel = throw "web2 was evaluated"; };
  nodes.db = { host = throw "the settings of db were evaluated"; toplevel = "$system"; };
}
END
try deploy web1
is "a node by name: it is reached" "$RC,$(asked)" "1,web1 "
try status web1 web2
is "status evaluates no system" "$RC,$(asked)" "1,web1 web2 "
try deploy 'web*'
refused "a system that fails" "$tmp/fleet/fleet.nix: node web2: web2 was evaluated"
is "a system that fails: nobody is asked" "$(asked)" ""
try deploy
refused "without a selection all settings are needed" "the settings of db were evaluated"
try deploy --keep-going '!web2'
is "--keep-going: a node whose settings fail is left out, and it is a failure" "$RC,$(asked)" "1,web1 "
says "--keep-going: which one, and why" "belay: node db is left out, since its settings cannot be read: $tmp/fleet/fleet.nix: the settings of db were evaluated"
try deploy --keep-going nobody
refused "--keep-going does not hide a wrong word" "no node matches 'nobody'"
try deploy @web
refused "for a tag all settings are needed" "the settings of db were evaluated"
sed -i '/nodes.db/d' fleet.nix
try deploy @web
is "a tag: only its nodes' systems" "$RC,$(asked)" "1,web1 "
try deploy web1,wbe2
refused "a name that there is not, with the nearest of all" "no node matches 'wbe2'; did you mean 'web2'?"
try deploy 'x?y.z*'
refused "a glob that nothing matches, with what there is" "no node matches 'x?y.z*'" "web1, web2"
sed 's/^}$/rollout.canary = "web2"; }/' fleet.nix > canary.nix
try deploy -f canary.nix web1
says "a canary that is not of this run is still known" "no canaries: none of this run's hosts is one"
try deploy --canary web2 web1
says "--canary: the same" "no canaries: none of this run's hosts is one"
try deploy --canary web3 web1
refused "--canary: a node that there is not" "no node matches 'web3'"

# ---- a node's failure
try deploy --keep-going
is "--keep-going: the others are deployed, and it is a failure" "$RC,$(asked)" "1,web1 "
says "--keep-going: which one is left out, and why" "belay: node web2 is left out, since it could not be evaluated: web2 was evaluated"
cat > all-bad.nix << 'END'
{ nodes = builtins.listToAttrs (map (n: { name = "n${toString n}"; value.toplevel = throw "bad ${toString n}"; }) [ 1 2 3 ]); }
END
try deploy -k -f all-bad.nix
exits "--keep-going: none is left" 2
says "--keep-going: none is left, one of the reasons" "belay: $tmp/fleet/all-bad.nix: node n" ": bad "
is "--keep-going: each is told" "$(grep -c 'is left out' "$tmp/err")" 3
# Among many that cost nothing and are evaluated together, the bad ones are found.
cat > many.nix << END
{ nodes = builtins.listToAttrs (map (n: { name = "n\${toString n}"; value.toplevel =
  if n == 20 || n == 33 then throw "bad \${toString n}" else "$system"; }) (builtins.genList (n: n) 40)); }
END
try deploy -k -f many.nix
is "bad ones among many: the good ones" "$(asked | wc -w)" 38
is "bad ones among many: both are told" "$(grep -o 'is left out.*bad [0-9]*' "$tmp/err" | grep -o '[0-9]*$' | sort | tr '\n' ' ')" "20 33 "
sed -i 's/n == 20 || n == 33/false/' many.nix
try deploy -f many.nix
is "many in few processes ($(starts))" "$([ "$(starts)" -le 12 ] && echo few)" few

# ---- several at once
PATH=$PATH_BEFORE; rm "$tmp"/bin/nix*; hash -r
NIX_PAUSE=0.4 log_nix
sed -i 's/40)/6)/' many.nix
try deploy -f many.nix --eval-workers 1
is "--eval-workers 1" "$(most_at_once)" 1
try deploy -f many.nix --eval-workers 3 --eval-memory 4000
is "--eval-workers 3" "$(most_at_once)" 3
try deploy -f many.nix --eval-workers 3 --eval-memory 1
is "--eval-memory: too little for two" "$(most_at_once)" 1
PATH=$PATH_BEFORE; rm "$tmp"/bin/nix*; hash -r
NIX_PAUSE=2.1 log_nix
try deploy -f many.nix n1,n2
says "what takes its time says how far it is" "evaluating: 1 of 2"
for bad in 0 1001 x; do
  try deploy -f many.nix --eval-workers $bad
  refused "--eval-workers $bad" "--eval-workers: '$bad' is not a number from 1 to 1000"
done
PATH=$PATH_BEFORE; rm "$tmp"/bin/nix*; hash -r
log_nix

# ---- Nix's own options and words
echo "{ nodes.web1 = builtins.trace \"hello from web1\" { toplevel = builtins.trace \"hello again\" \"$system\"; }; }" > trace.nix
try deploy -f trace.nix
is "a trace is told once" "$(grep -c '^trace: hello from web1$' "$tmp/err"),$(grep -c '^trace: hello again$' "$tmp/err")" 1,1
echo "{ nodes.web1 = { toplevel = builtins.trace \"evaluation warning: old\nand long\" \"$system\"; }; }" > long.nix
try deploy -f long.nix
is "a warning of two lines is told to its end" "$(grep -A1 -x 'trace: evaluation warning: old' "$tmp/err")" "$(printf '%s\n' 'trace: evaluation warning: old' 'and long')"
printf '{ nodes.web1.toplevel = let f = x: x.nope; in\n  f { }; }\n' > deep.nix
try deploy -f deep.nix
refused "an error in one line" "attribute 'nope' missing" "deep.nix:1"
try deploy -f deep.nix --show-trace
exits "--show-trace" 2
says "--show-trace: Nix's own words" "while evaluating the system of node 'web1'"
says "--show-trace: and belay's" "belay: $tmp/fleet/deep.nix:" "attribute 'nope' missing"
echo "{ nodes.web1.toplevel = import <there>; }" > look.nix
echo "\"$system\"" > there.nix
try deploy -f look.nix
refused "a name that is not found" "'there' was not found"
try deploy -f look.nix -I "there=$tmp/fleet/there.nix"
is "-I: it is found" "$RC,$(asked)" "1,web1 "
try deploy -f many.nix --option allow-import-from-derivation false
check "--option is handed on" grep -q 'allow-import-from-derivation false' "$tmp/nix.log"
try deploy -f many.nix --override-input a b
refused "--override-input for a file" "--override-input is for flakes, and this is a file"

# ---- flakes: the same once more, and what is remembered
if ! command -v git > /dev/null || ! nix flake --help > /dev/null 2>&1; then
  skip "flakes" "no git, or a nix without flakes"
  done_testing
fi
mkdir flake other && cd flake || exit 1
git init -q .
echo "{ outputs = { self }: { name = \"other\"; }; }" > ../other/flake.nix
# write HOST: a flake with a node that is built from a derivation, and one that cannot be evaluated
write() {
  cat > flake.nix << END
{ inputs.up.url = "path:$tmp/fleet/up";
  outputs = { self, up }: { belay.nodes = {
    web1 = { host = "$1" + up.name; toplevel = derivation { name = "nixos-system-web1"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "PATH=/bin:/usr/bin; mkdir -p \$out/bin; cd \$out; touch activate init nixos-version bin/switch-to-configuration" ]; }; };
    web2.toplevel = throw "web2 was evaluated";
    web3 = { host = "w3" + builtins.getEnv "WHO"; toplevel = "$system"; };
  }; }; }
END
  git add flake.nix
}
mkdir ../up; echo "{ outputs = { self }: { name = \"up\"; }; }" > ../up/flake.nix
write first-
nix flake lock 2> /dev/null; git add flake.lock
try deploy web1
is "a flake: deployed" "$RC,$(asked)" "1,first-up "
try deploy web1
is "once more: Nix is started to look at the sources, and no more" "$(grep '^+' "$tmp/nix.log" | grep -vc ' flake metadata ')" 0
is "once more: the same host" "$(asked)" "first-up "
try status web3
try deploy web3 -k
is "another node is asked for" "$(asked)" "w3 "
try deploy web1 web2
exits "one that fails is not remembered as good" 2
says "one that fails is not remembered as good: why" "web2 was evaluated"
write second-
try deploy web1
is "a change is seen" "$(asked)" "second-up "
try deploy web1 --override-input up "path:$tmp/fleet/other"
is "--override-input: another input" "$(asked)" "second-other "
try deploy web1
is "and without it, the first one again" "$(asked)" "second-up "
WHO=me try deploy web3 --impure
is "--impure: the flake sees the environment" "$(asked)" "w3me "
WHO=you try deploy web3 --impure
is "--impure is not remembered" "$(asked)" "w3you "
before=$(find "$HOME/.cache/belay/eval" -type f | wc -l)
WHO=me try deploy web3 --option pure-eval false
is "nor is what is made impure by an option" "$(asked),$(find "$HOME/.cache/belay/eval" -type f | wc -l)" "w3me ,$before"
# Somebody works on it while it is evaluated: what is remembered would be of neither.
write third-
cat > "$tmp/bin/meddle" << X
#!/bin/sh
sed -i 's/third-/fourth-/' "$PWD/flake.nix"
X
chmod +x "$tmp/bin/meddle"
PATH=$PATH_BEFORE; rm "$tmp"/bin/nix*; hash -r
NIX_PAUSE='0; case "$*" in *" eval "*) meddle ;; esac' log_nix
try deploy web1
PATH=$PATH_BEFORE; rm "$tmp"/bin/nix*; hash -r
log_nix
sed -i 's/fourth-/third-/' flake.nix
try deploy web1
is "what was changed while it was evaluated is not remembered" "$(asked)" "third-up "
write second-
try deploy web1
# Garbage is collected: the derivation is gone, and is evaluated again.
nix-store --gc > /dev/null 2>&1
try deploy web1
is "after the garbage was collected: built again" "$(asked),$(grep -c ' eval ' "$tmp/nix.log")" "second-up ,1"
echo 'not what was answered' > "$tmp/garbage"
find "$HOME/.cache/belay/eval" -type f -exec cp "$tmp/garbage" {} \;
try deploy web1
is "a damaged memory is no memory" "$RC,$(asked)" "1,second-up "
for i in $(seq 40); do write "host$i-"; try deploy web3; done
is "a memory for so many sources, and no more" "$(($(find "$HOME/.cache/belay/eval" -mindepth 1 -maxdepth 1 | wc -l) <= 33))" 1
done_testing
