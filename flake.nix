# SPDX-License-Identifier: MIT
{
  description = "Deploys NixOS to a fleet over ssh; hosts that are cut off roll back by themselves";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      each = systems: f: builtins.listToAttrs (map (system: { name = system; value = f system; }) systems);
      linux = [ "x86_64-linux" "aarch64-linux" ];
      darwin = [ "x86_64-darwin" "aarch64-darwin" ];
    in
    {
      lib = {
        # belay = belay.lib.fleet { defaults = ...; nodes = ...; };   for `belay deploy`. A fleet of plain options
        # needs no nixpkgs; others have this flake's unless they name one, so let it follow yours.
        fleet = import ./default.nix { inherit nixpkgs; };

        # The same with what a deploy script is built with, for `nix build .#deploy && ./result`:
        # packages.x86_64-linux.deploy = belay.lib.fleetWith { system = "x86_64-linux"; } { nodes = ...; };
        fleetWith = { system, pkgs ? nixpkgs.legacyPackages.${system}, belay ? null }:
          import ./default.nix { inherit system pkgs belay; };
      };

      # For the hosts: imports = [ belay.nixosModules.default ]; services.belay.enable = true;
      nixosModules.belay = ./nix/module.nix;
      nixosModules.default = self.nixosModules.belay;

      packages = each (linux ++ darwin) (system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
          belay = pkgs.callPackage ./nix/package.nix { };
        in
        { inherit belay; default = belay; }
        // (if builtins.elem system linux
        then { belay-agent = pkgs.pkgsStatic.callPackage ./nix/agent.nix { }; }
        else { }));
    };
}
