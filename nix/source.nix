# SPDX-License-Identifier: MIT
#
# The source tree without what is built in it, shared by both packages.
{ lib }:
lib.cleanSourceWith {
  name = "belay-source";
  src = lib.cleanSource ../.;
  filter = path: _type: builtins.match "build.*" (baseNameOf path) == null || dirOf path != toString ../.;
}
