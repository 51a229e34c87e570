# SPDX-License-Identifier: MIT
#
# One NixOS system that is no fleet's, as `nixos-rebuild` finds it, as a fleet of one node:
#
#   nix-instantiate --eval --strict --json --read-write-mode system.nix --argstr name web1 --argstr query ...
#
# file   a file or folder, as `nixos-rebuild --file` takes it; without it <nixpkgs/nixos>, which is the
#        configuration that <nixos-config> names
# attr   where in it the system is, names with dots between them; "": it is the system
# name   of the node
# query  what is asked, as JSON (query.nix)
{ file ? null, attr ? "", name, query }:
let
  inherit (builtins) filter foldl' isFunction isString split;

  where = if file == null then "<nixpkgs/nixos>" else file;
  given = if file == null then import <nixpkgs/nixos> { } else import (/. + file);
  call = value: if isFunction value then value { } else value;
  step = set: name:
    if set ? ${name} then call set.${name}
    else throw "belay: ${where}: there is no attribute '${name}' of '${attr}'";
  system = foldl' step (call given) (filter (part: isString part && part != "") (split "[.]" attr));
  fleet =
    if system ? config.system.build.toplevel then import ./readers/nixos.nix { ${name} = system; }
    else throw "belay: ${where}: is no NixOS system; name the attribute that is one with --attr";
in
import ./query.nix (builtins.fromJSON query) (import ./fleet.nix fleet).data
