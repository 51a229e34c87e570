# The smallest system that can be deployed to again: it boots, has its address, and lets you in.
{
  networking.hostName = "web1";
  networking.useDHCP = true;

  # As the machine has it: compare with its /etc/nixos/hardware-configuration.nix.
  boot.loader.grub.device = "/dev/vda";
  fileSystems."/" = {
    device = "/dev/vda1";
    fsType = "ext4";
  };

  services.openssh.enable = true;
  users.users.root.openssh.authorizedKeys.keys = [
    "ssh-ed25519 AAAA... put your own public key here"
  ];

  # The release that the machine was installed with.
  system.stateVersion = "24.05";
}
