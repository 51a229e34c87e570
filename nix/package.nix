# SPDX-License-Identifier: MIT
#
# belay, the operator's program, with the agents for the targets that it can deploy to.
{ lib
, stdenv
, meson
, ninja
, pkg-config
, libuv
, jansson
, sqlite
, curl
, zstd
, libsodium
, uthash
, pkgsStatic
, pkgsCross
  # Target system -> package with bin/belay-agent. A machine's own kind needs no cross compiler.
, agents ? lib.mapAttrs
    (system: cross:
      (if system == stdenv.hostPlatform.system then pkgsStatic else cross.pkgsStatic).callPackage ./agent.nix { })
    {
      x86_64-linux = pkgsCross.musl64;
      aarch64-linux = pkgsCross.aarch64-multiplatform-musl;
    }
}:
stdenv.mkDerivation {
  pname = "belay";
  version = import ./version.nix;
  src = import ./source.nix { inherit lib; };

  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ libuv jansson sqlite curl zstd libsodium uthash ];
  mesonFlags = [ "-Dtests=false" ];

  # nix, ssh and git are the user's own, from PATH: their configuration and keys are meant.

  # The agent that comes with the program's own build is not static: a target could not run it. On macOS there
  # is none.
  postInstall = ''
    rm -rf "$out/share/belay/agent"
  '' + lib.concatStrings (lib.mapAttrsToList
    (system: agent: ''
      install -D ${agent}/share/belay/agent/${system}/bin/belay-agent "$out/share/belay/agent/${system}/bin/belay-agent"
    '')
    agents);

  # The agents go to targets as they are: stripping would make other files of them.
  stripExclude = [ "share/belay/agent/*" ];

  meta = {
    description = "Deploys NixOS to a fleet over ssh; hosts that are cut off roll back by themselves";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
    mainProgram = "belay";
  };
}
