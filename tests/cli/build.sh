#!/bin/bash
# The building step: one real Nix in a store of its own, hosts that are played. How it goes is told as lines,
# as a status, as events; a failure leaves out its nodes alone; a build host builds; an interrupt stops Nix.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
rm -f "$tmp/bin/nix-store"        # `nix copy` stays a fake: all hosts have the store of this machine
hash -r
why=
command -v nix-instantiate nix-store > /dev/null || why="nix is missing"
version=$(nix-instantiate --version 2> /dev/null | grep -Eo '[0-9]+\.[0-9]+' | head -n 1)
[ -n "$why" ] || [[ ${version%%.*} -gt 2 || ${version#*.} -ge 8 ]] || why="nix $version is older than 2.8"
if [ -n "$why" ]; then skip "building" "$why"; done_testing; fi
mkdir "$tmp/conf"
printf '%s\n' 'substituters =' 'build-users-group =' 'sandbox = false' 'max-jobs = 4' > "$tmp/conf/nix.conf"
export NIX_CONF_DIR=$tmp/conf NIX_USER_CONF_FILES='' NIX_REMOTE=local

# systems.nix TAG: web1 and web2 are good, web3 needs `tool`, which fails, and says much; `slow` takes its time
cat > systems.nix << 'X'
tag:
let
  mk = name: deps: script: derivation {
    inherit name deps tag; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "PATH=/bin:/usr/bin; ${script}" ];
  };
  system = name: deps: mk "nixos-system-${name}-${tag}" deps
    "mkdir -p $out/bin; cd $out; touch activate init nixos-version bin/switch-to-configuration";
in {
  web1 = system "web1" [ ];
  web2 = system "web2" [ (mk "part" [ ] "echo part > $out") ];
  web3 = system "web3" [ (mk "tool" [ ] "mkdir $out; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo said $i; done; printf 'bad\\033[2Jline\\n' >&2; exit 3") ];
  web4 = system "web4" [ (mk "nap" [ ] "sleep 0.7; : > $out") ];
  slow = system "web1" [ (mk "slow" [ ] ": > ${builtins.getEnv "TMP_DIR"}/building; sleep 60") ];
}
X
export TMP_DIR=$tmp
# nodes FILE TAG NODE[=SYSTEM]...: a fleet of derivations; NODE_FIELDS as in `fleet`
nodes() {
  local file=$1 tag=$2 a sep='' drv; shift 2
  {
    printf '{"belayFleet":1,"nodes":{'
    for a; do
      drv=$(nix-instantiate -E "(import ./systems.nix \"$tag\").${a#*=}" 2> /dev/null)
      printf '%s"%s":{"host":"%s","successTimeout":2,"toplevel":{"drvPath":"%s","path":"%s"}%s}' "$sep" "${a%%=*}" \
        "${a%%=*}" "$drv" "$(nix-store -q --outputs "$drv")" "${NODE_FIELDS:+,$NODE_FIELDS}"
      sep=,
    done
    printf '}}\n'
  } > "$file"
}
path() { jq -r ".nodes.$2.toplevel.path" "$1"; }
drv() { jq -r ".nodes.$2.toplevel.drvPath" "$1"; }
for h in web1 web2 web3; do good_host $h; done

# ---- lines
nodes good.json a web1 web2
forget
run deploy --fleet-json good.json
exits "two systems are built and deployed" 0
for n in nixos-system-web1-a nixos-system-web2-a part; do
  says "$n: that it is being built" "build: building $n (" " of 3)"
  says "$n: that it is built" "build: built $n (" " of 3)"
done
says "the last one is the third of three" "(3 of 3)"
check "web2: is committed" grep -qF '[web2] Successfully activated new system!' "$tmp/err"
check "no root of the build is left" sh -c "! find '$tmp/state' -name 'root*' | grep ."

# ---- one fails: nobody is switched
nodes bad.json b web1 web2 web3
forget
run deploy --fleet-json bad.json
exits "a build fails: status 1" 1
is "a build fails: no host was asked" "$(cat "$tmp/ssh.log")" ""
says "a build fails: which derivation and why" "build: tool failed: builder for '/nix/store/" "-tool.drv' failed with exit code 3"
is "a build fails: the last ten lines of its log" "$(sed -nE 's/^ *(log: )?(said [0-9]+|bad.*)$/\2/p' "$tmp/err" | paste -sd,)" \
  'said 4,said 5,said 6,said 7,said 8,said 9,said 10,said 11,said 12,bad\x1b[2Jline'
tool=$(sed -n "s/^build: tool failed: builder for '\([^']*\)'.*/\1/p" "$tmp/err")
is "a build fails: told once" "$(grep -c '^build: tool failed' "$tmp/err")" 1
says "a build fails: the command for all of it" "  next: nix log $tool"
is "a build fails: the last line" "$(tail -n 1 "$tmp/err")" "belay: build: tool failed"

# ---- with --keep-going the others are switched
nodes bad.json c web1 web2 web3
forget
run deploy --fleet-json bad.json --keep-going
exits "--keep-going: status 1 all the same" 1
says "--keep-going: which node is left out, and why" "note: node web3: not built: tool failed: builder for"
for h in web1 web2; do says "--keep-going: $h is committed" "[$h] Successfully activated new system!"; done
says "--keep-going: web3 is among the results" "[web3] Not built! Nothing was changed"
says "--keep-going: with its next step" "[web3]   next: nix log /nix/store/"
says "--keep-going: the summary" "3 hosts: 2 committed, 1 failed"
if grep -qF web3 "$tmp/ssh.log"; then fail "--keep-going: web3 is not asked" "$tmp/ssh.log"; else pass "--keep-going: web3 is not asked"; fi
# tool's output was made before it failed: files in the store that are not valid
check "--keep-going: what a failed build has left is not taken for its output" test -d "$(nix-store -q --outputs "$tool")"
run history
says_out() { if grep -qE "$2" "$tmp/out"; then pass "$1"; else fail "$1" "$tmp/out"; fi; }
says_out "--keep-going: the history has the failure" "web3 +failed"
run resume --fleet-json bad.json
says "--keep-going: and nothing is open" "has no open transaction"
nodes all.json d web3
forget
run deploy --fleet-json all.json --keep-going
exits "--keep-going and nothing is built: status 1" 1
says "--keep-going and nothing is built: says so" "belay: build: tool failed"

# ---- events
nodes bad.json e web1 web3
forget
run deploy --fleet-json bad.json --keep-going --json
exits "--json: status 1" 1
is "--json: nothing on standard error" "$(cat "$tmp/err")" ""
check "--json: a build begins" jq -es 'any(.[]; .event == "build" and .state == "running" and .name == "nixos-system-web1-e" and .of > 0)' "$tmp/out"
check "--json: and is done" jq -es 'any(.[]; .event == "build" and .state == "done" and .name == "nixos-system-web1-e" and (.derivation | endswith(".drv")))' "$tmp/out"
check "--json: a failure has reason, log and next step" jq -es 'any(.[]; .event == "build" and .state == "failed" and .name == "tool" and (.reason | test("exit code 3")) and (.log | startswith("said 4\n")) and (.next | startswith("nix log ")))' "$tmp/out"
check "--json: a result for each node" jq -es '[.[] | select(.event == "result") | [.host, .outcome]] | sort == [["web1", "committed"], ["web3", "failed"]]' "$tmp/out"

# ---- --keep-result
nodes good.json f web1 web2
forget
run deploy --fleet-json good.json --keep-result
exits "--keep-result: status 0" 0
for h in web1 web2; do
  is "--keep-result: result-$h" "$(readlink result-$h)" "$(path good.json $h)"
done
nix-store --gc > /dev/null 2>&1
check "--keep-result: they are roots" test -e result-web1/activate -a -e result-web2/activate
run deploy --fleet-json good.json --keep-result web1
exits "--keep-result: again, over its own link" 0
rm result-web1; echo mine > result-web1
forget
run deploy --fleet-json good.json --keep-result web1
exits "--keep-result: a file of that name: status 1" 1
says "--keep-result: a file of that name: says so" "belay: --keep-result: root " "result-web1"
is "--keep-result: a file of that name stays" "$(cat result-web1)" mine
is "--keep-result: a file of that name: no host was asked" "$(cat "$tmp/ssh.log")" ""
rm result-*
system=$(system given)
fleet given.json "web1=$system"
run deploy --fleet-json given.json --keep-result --json
exits "--keep-result of a path that Nix does not know: status 1" 1

# ---- a terminal
nodes bad.json g web1=web4 web3
forget
if command -v script > /dev/null; then
  TERM=xterm script -qec "$BELAY deploy --fleet-json bad.json -k" typescript < /dev/null > /dev/null 2>&1
  tr '\r' '\n' < typescript > "$tmp/out"
  says_out "terminal: the status" 'build: [0-9]+/[0-9]+ built'
  says_out "terminal: the failure in full" 'build: tool failed: builder for'
  is "terminal: what goes well is no line" "$(grep -c 'building nixos' "$tmp/out")" 0
  # one line up, and everything from there is cleared
  check "terminal: the status is taken away in the end" grep -q $'^\033\\[1A\033\\[?7l\033\\[J\033\\[?7h' "$tmp/out"
else
  skip "terminal" "no script"
fi

# ---- a build host; it has the same store, and builds with the same Nix
host builder << 'X'
run_command
X
nodes there.json h web1 web2
forget
run deploy --fleet-json there.json --build-host builder
exits "--build-host: status 0" 0
says "--build-host: told with the host's name" "build on builder: building nixos-system-web1-h ("
check "--build-host: the derivations go there by the one connection" grep -q "^nix .* copy .*--derivation --to ssh://root@builder .*$(drv there.json web1)" "$tmp/nix.log"
check "--build-host: what was built comes back" grep -q "^nix .* copy .*--from ssh://root@builder .*$(path there.json web1)" "$tmp/nix.log"
check "--build-host: and goes to its host" grep -qx "web2 $(path there.json web2)" "$tmp/copied"
is "--build-host: one connection to it" "$(grep -c 'belay-ready' "$tmp/ssh.log")" 1
for o in BatchMode=yes StrictHostKeyChecking=yes; do
  check "--build-host: $o" grep -q "belay-ready" <(tr '\037' ' ' < "$tmp/ssh.log" | grep -e "-o $o ")
done
is "--build-host: no root is left there" "$(ls /nix/var/nix/gcroots/belay)" ""
host web1 << 'X'
case $command in *belay-ready*) run_command ;; esac
if [ -n "$fresh" ]; then confirm; runs=$(new); state COMMITTING 1; state COMMITTED 0; sleep 5
else up_to_start; state WAIT_CONFIRM 1 left_ms=20000; exec sleep 20; fi
X
nodes there.json j web1 web2
forget
run deploy --fleet-json there.json --build-host web1
exits "--build-host is one of the hosts: status 0" 0
is "--build-host is one of the hosts: its own system is not sent, the other's is" "$(cat "$tmp/copied")" "web2 $(path there.json web2)"
check "--build-host is one of the hosts: the other's comes through here" grep -q "^nix .* copy .*--from ssh://root@web1 .*$(path there.json web2)" "$tmp/nix.log"
is "--build-host is one of the hosts: its own is rooted there" "$(readlink /nix/var/nix/gcroots/belay/next)" "$(path there.json web1)"
nodes there.json k web1 web3
forget
run deploy --fleet-json there.json --build-host builder
exits "--build-host: a build fails there: status 1" 1
says "--build-host: a build fails there: which" "build on builder: tool failed: builder for"
says "--build-host: a build fails there: its log" "  said 12"
says "--build-host: a build fails there: where the log is" "next: ssh builder nix log /nix/store/"
nodes there.json l web1 web3
forget
run deploy --fleet-json there.json --build-host builder --keep-going
exits "--build-host: a build fails there, --keep-going: status 1" 1
says "--build-host: a build fails there, --keep-going: the other is deployed" "[web1] Successfully activated new system!"
says "--build-host: a build fails there, --keep-going: who is left out" "node web3: not built: tool failed"
# ---- buildOn: each on itself
NODE_FIELDS='"buildOn":"target"' nodes own.json o web1 web2
good_builder() {
  host "$1" << 'X'
case $command in *belay-ready*) run_command ;; esac
if [ -n "$fresh" ]; then confirm; runs=$(new); state COMMITTING 1; state COMMITTED 0; sleep 5
else up_to_start; state WAIT_CONFIRM 1 left_ms=20000; exec sleep 20; fi
X
}
good_builder web1; good_builder web2
forget
run deploy --fleet-json own.json
if grep -q "unknown key 'buildOn'" "$tmp/err"; then skip "buildOn" "fleets do not have it yet"; else
  exits "buildOn target: status 0" 0
  for h in web1 web2; do says "buildOn target: $h builds its own" "build on $h: built nixos-system-$h-o ("; done
  is "buildOn target: nothing is sent" "$(cat "$tmp/copied")" ""
fi

host gone << 'X'
refuse_connection 'Connection refused'
X
nodes there.json m web1
run deploy --fleet-json there.json --build-host root@gone
exits "--build-host that does not answer: status 1" 1
says "--build-host that does not answer: says so" "belay: build on gone: connect: nothing listens on its ssh port"
run deploy --fleet-json there.json --build-host '-oProxyCommand=x'
refused "--build-host that ssh would take for an option" "--build-host"

# ---- what scripts name of the store is built for them
cat > fleet.nix << X
let tool = name: derivation { inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo \$name > \$out" ]; }; in
(import $root { nixpkgs = null; }) { nodes.web1 = { host = "web1"; toplevel = (import ./systems.nix "s").web1;
  preparationPhases.x = "cat \${tool "first-tool"} >> $tmp/scripts.log"; postDeployScript = "cat \${tool "second-tool"} >> $tmp/scripts.log"; }; }
X
good_host web1
for round in "built" "remembered"; do
  forget; rm -f "$tmp/scripts.log"
  run deploy -f fleet.nix
  exits "scripts that need something, $round: status" 0
  is "scripts that need something, $round" "$(tr '\n' ' ' < "$tmp/scripts.log")" "first-tool second-tool "
done
check "needs of scripts: nothing but garbage afterwards" nix-store --delete /nix/store/*-first-tool /nix/store/*-first-tool.drv
forget; rm -f "$tmp/scripts.log"
run deploy -f fleet.nix
exits "after garbage was collected: status" 0
is "after garbage was collected: it is built again" "$(tr '\n' ' ' < "$tmp/scripts.log")" "first-tool second-tool "
sed -i 's/echo/false/' fleet.nix
forget
run deploy -f fleet.nix
exits "what a script needs cannot be built: status" 1
says "what a script needs cannot be built: says so" "belay: node web1: what its scripts need: "
is "what a script needs cannot be built: no host was asked" "$(lines_of "$tmp/ssh.log")" 0

# ---- interrupts
nodes slow.json n web1=slow
for s in INT TERM; do
  rm -f "$tmp/building"; forget
  env --default-signal=INT,TERM "$BELAY" deploy --fleet-json slow.json < /dev/null > "$tmp/out" 2> "$tmp/err" &
  pid=$!
  for _ in $(seq 100); do [ ! -e "$tmp/building" ] || break; sleep 0.05; done
  kill -$s $pid; wait $pid; RC=$?
  exits "$s while it builds: 130" 130
  is "$s while it builds: says so" "$(tail -n 1 "$tmp/err")" "belay: build: interrupted"
  for _ in $(seq 40); do pgrep -f 'sleep 60' > /dev/null || break; sleep 0.05; done
  is "$s while it builds: nothing builds on" "$(pgrep -fl 'nix-store|sleep 60')" ""
done
done_testing
