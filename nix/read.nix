# SPDX-License-Identifier: MIT
#
# What belay evaluates to read a fleet file:
#   nix-instantiate --eval --strict --json --read-write-mode read.nix --argstr file /path/of/fleet.nix
{ file }:
if builtins.substring 0 1 file != "/" then
  throw "belay: ${file}: an absolute path is needed"
else
  import ./read-value.nix (fleet: { data = (import ../default.nix { } fleet).belayFleet; }) file (import file)
