# SPDX-License-Identifier: MIT
#
# A fleet of either form as plain data:
#
#   evaluate.nix :: { lib, nixpkgs, system } -> fleet -> { data, built }    (see fleet.nix)
#
# A fleet of plain options is read as it is, without nixpkgs' lib. One with modules or NixOS configurations in it
# goes through the module system first. Both give the same for what can be said in both.
#
# lib      nixpkgs' lib, or null: then it is taken from the fleet's own nixpkgs
# nixpkgs  what nodes without a nixpkgs of their own are built from, or null
# system   what nodes that do not say it run on; null when not known
{ lib, nixpkgs, system }: fleet:
let
  inherit (builtins) all any attrValues isAttrs isFunction isPath;

  # Nothing in it that only the module system understands. What is wrong in other ways, fleet.nix says better.
  has = names: v: any (name: v ? ${name}) names;
  isModule = v: isFunction v || v ? __functor || isPath v || isAttrs v && has [ "imports" "config" "options" "_module" "_type" ] v && !isSystem v;
  isSystem = v: v ? config && v ? options && (v ? pkgs || v ? extendModules);
  needsModules = v: isModule v || isAttrs v && has [ "configuration" "nixpkgs" ] v;
  nodes = fleet.nodes or { };
  isPlain = !isModule fleet && !(isAttrs fleet && fleet ? ssh) && !needsModules (fleet.defaults or { })
    && (!isAttrs nodes || nodes.type or null == "derivation" || all (v: !needsModules v) (attrValues nodes));

  # The fleet's own, if it says so in plain words: it is needed to read the other ones.
  own = if isAttrs fleet && isAttrs (fleet.defaults or null) then fleet.defaults.nixpkgs or null else null;
  from = if nixpkgs != null then nixpkgs else own;
  found =
    if lib != null then lib
    else if from == null then
      throw ("belay: the fleet has modules or 'configuration' in it, for which nixpkgs is needed: set defaults.nixpkgs, "
        + "or give one to the library: import <belay> { nixpkgs = ...; }")
    else libOf from;
  # Of a path or of a flake's input, which knows its version by it.
  libOf = from: if isAttrs from && from ? lib then from.lib else import "${toString from}/lib";
in
import ./fleet.nix (if isPlain then fleet else import ./modules.nix { lib = found; inherit libOf nixpkgs system; } fleet)
