# SPDX-License-Identifier: MIT
#
# A flake's nixosConfigurations as a fleet: a node for each, of its name, which is also what ssh is given. Where the
# host has nix/module.nix, its option belay.deploy says the rest.
#
#   nixos.nix :: { NAME = NixOS system } -> { nodes }    (as fleet.nix takes it)
#
# No path in here, for the same reason as in ../fleet.nix.
systems: {
  nodes = builtins.mapAttrs
    (name: system:
      let
        # A system without the module is not asked for anything but its toplevel.
        settings = if system ? options.belay.deploy then system.config.belay.deploy else { };
      in
      if settings ? toplevel then throw "belay: node ${name}: belay.deploy: 'toplevel' is this system itself; remove it"
      else settings // { toplevel = system.config.system.build.toplevel; })
    systems;
}
