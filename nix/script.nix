# SPDX-License-Identifier: MIT
#
# What a fleet evaluates to: a derivation of an executable script that runs `belay deploy` on the fleet as it
# was evaluated, with the fleet's data and one such script per node as attributes.
#
# pkgs    a package set, or null: then nothing but /bin/sh is needed
# system  where the script is built if there is no pkgs; null when not known
# belay   a derivation with bin/belay, the path of the program, or null for `belay` from PATH
{ pkgs, system, belay }:
{ data, built, scripts }:
let
  inherit (builtins) attrNames filter head isAttrs mapAttrs replaceStrings toJSON;

  quote = text: "'${replaceStrings [ "'" ] [ "'\\''" ] text}'";

  buildSystem =
    if system != null then system
    else throw ("belay: a deploy script is built for one system, and pure evaluation does not tell which; "
      + "use belay.lib.fleetWith { system = \"x86_64-linux\"; } in the flake, or run `belay deploy`");

  # The sandbox's /bin/sh on NixOS is a bare shell, with no chmod anywhere. But a NixOS system has one, and
  # the script needs the systems anyway.
  chmodFrom = nodes:
    let usable = filter (n: nodes.${n}.enable && nodes.${n}.system == buildSystem) (attrNames nodes);
    in if usable == [ ] then "" else ":${built.${head usable}}/sw/bin";

  # Writes with nothing but the shell's own words.
  writeBySh = name: path: text: commands: derivation {
    inherit name text;
    system = buildSystem;
    passAsFile = [ "text" ]; # a large fleet is longer than an environment variable may be
    PATH = "/bin:/usr/bin${path}";
    preferLocalBuild = true;
    allowSubstitutes = false;
    builder = "/bin/sh";
    args = [
      "-ec"
      ''
        while IFS= read -r line || [ -n "$line" ]; do
          printf '%s\n' "$line"
        done < "$textPath" > "$out"
        ${commands}
      ''
    ];
  };

  writeText = name: text:
    if pkgs != null then pkgs.writeText name text else writeBySh name "" text "";

  writeScript = nodes: name: text:
    if pkgs != null then pkgs.writeScript name text
    else writeBySh name (chmodFrom nodes) text ''
      chmod +x "$out" || {
        echo "belay: no chmod in the build sandbox; give the library a nixpkgs: import <belay> { nixpkgs = ...; }" >&2
        exit 1
      }
    '';

  program =
    if belay == null then "belay"
    else if isAttrs belay then "${belay}/bin/belay"
    else toString belay;

  # Enabled nodes come with the context of their systems and scripts, so that Nix builds these first; no derivation is
  # named then, as there is nothing left to build. A disabled node is not built.
  jsonOf = rollout: nodes: toJSON (data // {
    inherit rollout;
    nodes = mapAttrs
      (name: node: node // (if !node.enable then { } else {
        toplevel = { drvPath = null; path = built.${name}; };
      } // scripts.${name}))
      nodes;
  });

  # A derivation by hand instead of `script // { ... }`: reading the fleet's data off the result must not
  # evaluate nixpkgs, let alone fail without it.
  deploy = rollout: nodes: arguments:
    let
      json = writeText "belay-fleet.json" (jsonOf rollout nodes);
      script = writeScript nodes "deploy" ''
        #!/bin/sh
        # Deploys the fleet as Nix evaluated it. BELAY: another belay to run.
        belay=''${BELAY:-}
        [ -n "$belay" ] || belay=${quote program}
        exec "$belay" deploy --fleet-json ${json}${arguments} "$@"
      '';
      self = {
        type = "derivation";
        name = "deploy";
        outputName = "out";
        outputs = [ "out" ];
        out = self;
        inherit (script) drvPath outPath system;
      };
    in
    self;

  # Asked for by its name, a node is deployed even if the fleet leaves it out. A canary may be a node that is not in there.
  single = mapAttrs
    (name: node: deploy (data.rollout // { canary = null; }) { ${name} = node // { enable = true; }; } " ${name}")
    data.nodes;
in
# A node called like an attribute of the derivation is still found in `nodes`.
single // deploy data.rollout data.nodes "" // {
  belayFleet = data;
  nodes = single;
}
