# What nix/module.nix gives for some settings, with as little of NixOS's module system as it needs: options
# have their defaults, `mkIf` and `mkMerge` are resolved, and of two definitions the stronger one wins.
#   module.nix { settings = { enable = true; }; modern = true; }
{ settings, modern ? false }:
let
  inherit (builtins) attrNames concatMap foldl' isAttrs mapAttrs;

  tagged = type: extra: extra // { _type = type; };
  lib = rec {
    mkOption = tagged "option";
    mkEnableOption = what: mkOption { default = false; description = "Whether to enable ${what}."; };
    mkIf = condition: content: tagged "if" { inherit condition content; };
    mkMerge = contents: tagged "merge" { inherit contents; };
    mkOverride = priority: content: tagged "override" { inherit priority content; };
    types = { bool = "bool"; str = "str"; ints.positive = "positive"; anything = "anything"; attrsOf = type: "attrsOf ${type}"; };
  };

  # Every option's value: what is set, or the default.
  fill = options: set: mapAttrs
    (name: o: if o._type or null == "option" then set.${name} or o.default else fill o (set.${name} or { }))
    options;

  module = import ../../nix/module.nix {
    inherit lib;
    config.services.belay = fill module.options.services.belay settings;
    options.systemd = if modern then { settings = { }; } else { watchdog = { }; };
  };

  merge = a: b: a // mapAttrs (n: v: if isAttrs v && a ? ${n} then merge a.${n} v else v) b;
  resolve = v:
    if !isAttrs v then v
    else if v._type or null == "if" then (if v.condition then resolve v.content else { })
    else if v._type or null == "merge" then foldl' merge { } (map resolve v.contents)
    else if v._type or null == "override" then { inherit (v) priority content; }
    else mapAttrs (_: resolve) v;

  # Those with a text for the manual, which all must have.
  names = prefix: options: concatMap
    (n:
      let o = options.${n}; name = "${prefix}.${n}"; in
      if o._type or null != "option" then names name o
      else if o ? description then [ name ] else throw "${name} has no description")
    (attrNames options);
in
{
  config = resolve module.config;
  names = names "services" { inherit (module.options.services) belay; } ++ names "belay" module.options.belay;
}
