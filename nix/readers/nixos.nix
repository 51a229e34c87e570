# SPDX-License-Identifier: MIT
#
# A flake's nixosConfigurations as a fleet: a node for each, of its name, which is also what ssh is given.
#
#   nixos.nix :: { NAME = NixOS system } -> { nodes }    (as fleet.nix takes it)
#
# No path in here, for the same reason as in ../fleet.nix.
systems: {
  nodes = builtins.mapAttrs (_: system: { toplevel = system.config.system.build.toplevel; }) systems;
}
