# SPDX-License-Identifier: MIT
#
# belay-agent, the program that runs on the targets: static, so that a target needs no other store path.
# Call it with a static package set: pkgsStatic.callPackage ./agent.nix { }.
{ lib, stdenv, meson, ninja, pkg-config, zstd }:
stdenv.mkDerivation {
  pname = "belay-agent";
  version = import ./version.nix;
  src = import ./source.nix { inherit lib; };

  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ zstd ];
  mesonFlags = [ "-Dagent_only=true" ];

  # Nothing but itself goes to a target; a reference that sneaks in fails the build.
  allowedReferences = [ ];

  meta = {
    description = "The part of belay that runs on a target and rolls it back by itself";
    license = lib.licenses.mit;
    platforms = lib.platforms.linux;
    mainProgram = "belay-agent";
  };
}
