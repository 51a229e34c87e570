# SPDX-License-Identifier: MIT
#
# The NixOS module for hosts that belay deploys to: what a host needs to come back by itself from a new system
# that hangs, panics or boots into nothing. Deployments work without it; a trial boot of a system without the
# guard needs an /etc that keeps files. And the place for what a deployer has to know of a host. Documented in
# docs/nixos-module.md.
{ config, lib, options, ... }:
let
  inherit (lib) mkEnableOption mkIf mkMerge mkOption mkOverride types;
  cfg = config.services.belay;

  # Weaker than a mkDefault elsewhere, so that a profile's own choice is no conflict.
  recommend = mkOverride 1250;

  # nixpkgs before 25.11 has an option for each watchdog setting, later ones those of systemd's own file.
  watchdog =
    if options.systemd ? settings then {
      settings.Manager = {
        RuntimeWatchdogSec = recommend cfg.watchdog.runtimeTime;
        RebootWatchdogSec = recommend cfg.watchdog.rebootTime;
      };
    }
    else {
      watchdog = {
        runtimeTime = recommend cfg.watchdog.runtimeTime;
        rebootTime = recommend cfg.watchdog.rebootTime;
      };
    };

  switch = default: description: mkOption {
    inherit default description;
    type = types.bool;
  };
  time = default: description: mkOption {
    inherit default description;
    type = types.str;
  };
in
{
  # What belay reads with a flake's nixosConfigurations; what is in it, nix/fleet.nix checks.
  options.belay.deploy = mkOption {
    type = types.attrsOf types.anything;
    default = { };
    example = { host = "root@203.0.113.7"; tags = [ "web" ]; };
    description = ''
      How this host is deployed to where it is one of a flake's nixosConfigurations: the options of a node of a fleet,
      except for toplevel. They say nothing to the host itself.
    '';
  };

  options.services.belay = {
    enable = mkEnableOption "what a host needs to be deployed to with belay and to come back by itself";

    panic.seconds = mkOption {
      type = types.ints.positive;
      default = 30;
      description = ''
        How long after a kernel panic the host restarts. Without a restart a new system that panics takes the
        host away until somebody comes.
      '';
    };
    panic.onHang = switch true "Whether a kernel that hangs on a processor (a soft lockup) panics, and so restarts.";
    panic.onHungTask = switch false ''
      Whether a process that waits for a device or a file server for two minutes makes the kernel panic. Not for
      hosts with NFS, slow or removable disks, where such waits are no fault of the system.
    '';

    watchdog.enable = switch true ''
      Whether systemd feeds the hardware watchdog, if the host has one: it resets a host whose kernel or PID 1
      hangs, against which nothing else helps.
    '';
    watchdog.runtimeTime = time "60s" "How long PID 1 may be silent before the watchdog resets the host.";
    watchdog.rebootTime = time "5min" "How long the last phase of a shutdown may take before the watchdog resets the host.";
  };

  config = mkIf cfg.enable (mkMerge [
    {
      # The whole text, since the agent writes the same unit where a system comes without this module.
      systemd.units."belay-guard.service" = {
        text = builtins.readFile ./belay-guard.service;
        wantedBy = [ "multi-user.target" ];
      };

      # The parameters count from the kernel's first line on, the sysctls also for a system that was not booted.
      boot.kernelParams = [ "panic=${toString cfg.panic.seconds}" "boot.panic_on_fail" ];
      boot.kernel.sysctl = {
        "kernel.panic" = recommend cfg.panic.seconds;
        "kernel.panic_on_oops" = recommend 1;
        "kernel.softlockup_panic" = recommend (if cfg.panic.onHang then 1 else 0);
        "kernel.hung_task_panic" = recommend (if cfg.panic.onHungTask then 1 else 0);
      };
    }
    (mkIf cfg.watchdog.enable { systemd = watchdog; })
  ]);
}
