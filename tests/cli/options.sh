#!/bin/bash
# The command line itself: --help, the manual pages, what is refused, exit codes.
. "$(dirname "$0")/lib.sh"
page=$root/man/belay.1

# what "belay --help" lists, and what each command's --help lists
run --help
exits "--help succeeds" 0
check "--help is on standard output alone" test -s "$tmp/out" -a ! -s "$tmp/err"
mapfile -t commands < <(sed -n 's/^  \([a-z][a-z-]*\)  *.*/\1/p' "$tmp/out")
check "--help lists the commands" test ${#commands[@]} -ge 6
cp "$tmp/out" all.help
run
exits "no command is wrong usage" 2
run -h; exits "-h" 0
run help; exits "help" 0
run --version
exits "--version" 0
told "--version tells name and number" "belay 0."

# options_of FILE: the long options, and letters as "-f", that a --help or a page's section has
options_of() { sed -nE 's/^ +(-([A-Za-z]), )? *--([a-z-]+).*/\3 \2/p' "$1" | sed 's/ *$//' | sort; }
# page_options COMMAND: the same from the manual, whose command sections are `.Ss COMMAND`. They may refer to
# sections of the page that list options of several commands.
page_options() {
  awk -v section="$1" '
    FNR == NR {
      if ($1 == ".Ss" || $1 == ".Sh") inside = $1 == ".Ss" && $2 == section
      if (inside && $1 == ".Sx") { sub(/^\.Sx /, ""); sub(/ [.,]$/, ""); shared[$0] = 1 }
      next
    }
    $1 == ".Ss" || $1 == ".Sh" { title = $0; sub(/^\.S[sh] /, "", title); on = $1 == ".Ss" ? $2 == section : title in shared; next }
    on && $1 == ".It" && $2 == "Fl" {
      letter = ""; name = ""
      for (i = 3; i <= NF; i++) {
        if ($i ~ /^-[a-z-]+$/) name = substr($i, 2)
        else if ($i ~ /^[A-Za-z]$/ && $(i - 1) == "Fl") letter = $i
      }
      print (letter == "" ? name : name " " letter)
    }' "$page" "$page" | sort
}
cp /dev/null all.columns
for c in "${commands[@]}"; do
  run "$c" --help
  cp "$tmp/out" "$c.help"
  cat "$c.help" >> all.columns
  if [ "$RC" = 0 ] && [ ! -s "$tmp/err" ] && grep -q "^usage: belay $c " "$c.help"; then pass "$c --help is on standard output"; else fail "$c --help is on standard output" "$tmp/out" "$tmp/err"; fi
  options_of "$c.help" > help.options
  page_options "$c" > page.options
  check "$c has options" test -s help.options
  check "$c: the manual has exactly the options of --help" diff help.options page.options
  run "$c" -h; exits "$c -h" 0
  run "$c" --no-such-option
  refused "$c refuses an option that it does not have" "'--no-such-option' is not an option of belay $c" "see belay $c --help"
  check "the manual's SYNOPSIS has $c" grep -qE "^\.(Nm|Ic|Cm) +$c( |$)" "$page"
done
cat all.help >> all.columns
is "no line of a --help is wider than 80 columns" "$(awk 'length > 80' all.columns)" ""
sed -n 's/^\.Ss //p' "$page" | sort > page.commands
printf '%s\n' "${commands[@]}" | sort > help.commands
check "the manual has exactly the commands of --help" diff help.commands page.commands

run deplyo
refused "a command that there is not" "'deplyo' is not a command" "see belay --help"
run --deploy
refused "an option where the command should be" "'--deploy' is not an option of belay switch" "nor a command"

# ---- values
run deploy -f
refused "an option without its argument" "--file wants a value: FILE"
run deploy --parallel
refused "a number that is missing" "--parallel wants a value: N"
for n in 0 1001 -1 ten 1x '' 99999999999999999999; do
  run deploy --parallel "$n"
  refused "--parallel '$n'" "--parallel" "'$n'"
done
run history -n0
refused "a letter with its value" "--max"
run deploy --json=yes
refused "a flag with a value" "--json takes no value"
run deploy -kj
refused "letters are not bundled" "--keep-going takes no value"
run deploy --strategy trial
refused "--strategy of another kind" "--strategy: 'trial' is none of auto, live, boot, live+boot, kexec, unguarded-boot"
run deploy --strategy
refused "a strategy that is missing" "--strategy wants a value: S"
for s in auto live boot live+boot kexec unguarded-boot; do
  run deploy --strategy "$s" --reboot -f nowhere.nix
  refused "--strategy $s" "nowhere.nix: No such file or directory"
  check "the manual has the strategy $s" grep -qxF ".It Ql $s" "$page"
done
run deploy --reboot=yes
refused "--reboot with a value" "--reboot takes no value"
run deploy --flake . -f x.nix
refused "two sources" "only one of --file, --flake and --fleet-json"
run history web1 web2
refused "a word too many" "'web2' is one word too many"
run log web1 web2
refused "log of two hosts" "'web2' is one word too many"
run log
refused "log of no host" "log wants one host"
run abort --fleet-json x
refused "abort of no host" "abort wants hosts"

# ---- the key to sign with: told of before anything else is done
for c in deploy push copy; do
  run $c --sign-key nowhere
  refused "$c: a key that there is not" "nowhere: No such file or directory" "nix-store --generate-binary-cache-key"
  echo "a-1:c2VjcmV0IGJ5dGVz" > key; chmod 644 key
  run $c --sign-key key
  refused "$c: a key that everybody can read" "key: all users of this machine can read" "chmod 600"
  chmod 600 key
  run $c --sign-key key
  refused "$c: a key that is none" "key: a key of 12 bytes instead of 64"
  is "$c: nothing of it is told" "$(grep -c c2VjcmV0 "$tmp/err")" 0
done

# ---- exit codes: the enum and the manual
sed -nE 's/^\tBL_EXIT_[A-Z_]+ = ([0-9]+),.*/\1/p' "$root/src/cli/cmd.h" | sort -n > enum.codes
awk '$1 == ".Sh" { on = $2 == "EXIT" } on && $1 == ".It" { print $NF }' "$page" | sort -n > page.codes
check "EXIT STATUS has exactly the codes of enum bl_exit" diff enum.codes page.codes

# ---- the agent's own
agent=${BELAY_AGENT:-$root/build/share/agent/x86_64-linux/bin/belay-agent}
if [ -x "$agent" ]; then
  "$agent" --help > "$tmp/out" 2> "$tmp/err"; RC=$?
  exits "belay-agent --help" 0
  is "belay-agent --help is at most 80 columns wide" "$(awk 'length > 80' "$tmp/out")" ""
  for w in serve confirm keeper deadman status abort; do
    check "belay-agent's manual has $w" grep -qE "^\.(It )?(Ic|Cm) $w" "$root/man/belay-agent.8"
    check "belay-agent --help has $w" grep -qw "$w" "$tmp/out"
  done
  "$agent" no-such > "$tmp/out" 2> "$tmp/err"; RC=$?
  if [ "$(id -u)" = 0 ]; then exits "belay-agent refuses what it does not know" 2; fi
fi
done_testing
