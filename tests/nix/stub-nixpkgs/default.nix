# SPDX-License-Identifier: MIT
#
# Stands in for nixpkgs where there is none: as much as belay's Nix files ask for. Packages have the right
# names and attributes (`spec` is what mkDerivation was given), and a bin/NAME that prints its arguments.
{ system ? builtins.currentSystem, overlays ? [ ], config ? { }, ... }:
let
  inherit (builtins) attrNames concatStringsSep functionArgs intersectAttrs listToAttrs mapAttrs;

  sh = name: env: script: derivation (env // {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-ec" script ];
    PATH = "/bin:/usr/bin";
  });
  package = name: sh name { inherit name; } ''
    mkdir -p "$out/bin"
    printf '#!/bin/sh\necho "$@"\n' > "$out/bin/$name"
    chmod +x "$out/bin/$name"
  '';

  makePkgs = prefix: pkgs: {
    lib = {
      inherit mapAttrs;
      cleanSource = path: path;
      cleanSourceWith = args: args;
      concatStrings = concatStringsSep "";
      mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
      licenses.mit = "mit";
      platforms = { linux = [ "linux" ]; darwin = [ "darwin" ]; };
    };
    stdenv = {
      hostPlatform = { inherit system; };
      mkDerivation = spec: package spec.pname // { inherit spec prefix; };
    };
    callPackage = path: args:
      let f = import path; in f (intersectAttrs (functionArgs f) pkgs // args);
    writeText = name: text: sh name { inherit text; } ''printf '%s' "$text" > "$out"'';
    writeScript = name: text: sh name { inherit text; } ''printf '%s' "$text" > "$out"; chmod +x "$out"'';
  } // listToAttrs (map (name: { inherit name; value = package name; })
    [ "meson" "ninja" "pkg-config" "libuv" "jansson" "sqlite" "curl" "zstd" "libsodium" "uthash" ]);

  static = prefix: let pkgs = makePkgs prefix pkgs; in pkgs;
  self = makePkgs "native" self // {
    inherit overlays config;
    path = ./.;
    pkgsStatic = static "static";
    pkgsCross = {
      musl64.pkgsStatic = static "cross-x86_64";
      aarch64-multiplatform-musl.pkgsStatic = static "cross-aarch64";
    };
  };
in
self
