# As <nixpkgs/nixos>: the configuration is read, so that it must at least evaluate as plain data.
{ configuration }:
{
  options = { };
  config.system.build.toplevel = derivation {
    name = "nixos-system-${(import configuration).networking.hostName}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "echo ${builtins.hashString "sha256" (builtins.toJSON (import configuration))} > $out" ];
  };
}
