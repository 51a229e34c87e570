# A fleet of one host. Set its address here, and your ssh key in web1.nix; then, in this folder,
#   belay deploy
# or, with nothing installed but Nix,
#   nix-build && ./result
import ../. { } {
  defaults = {
    successTimeout = 20; # seconds for the confirmation over a fresh connection; then the host rolls back
    switchTimeout = 60; # seconds for the activation of the new system
  };

  nodes.web1 = {
    host = "root@203.0.113.7";
    configuration = ./web1.nix;
  };
}
