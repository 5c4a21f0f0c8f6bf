#!/bin/sh
# Written by `bundle export mirrors` for example 1.0.0 in registry.enclave.example:5000/mirror.
# Pulls every image from the enclave and names it as its source does. Harmless to repeat.
set -eu

pull() { # NAME-IN-THE-ENCLAVE NAME-OF-THE-SOURCE
  docker pull "$1"
  docker tag "$1" "$2"
}

pull 'registry.enclave.example:5000/mirror/docker.io/library/nginx@sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c' 'docker.io/library/nginx:1.27'
pull 'registry.enclave.example:5000/mirror/quay.io/prometheus/node-exporter@sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c' 'quay.io/prometheus/node-exporter:v1.9.1'
pull 'registry.enclave.example:5000/mirror/registry.k8s.io/pause@sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c' 'registry.k8s.io/pause:3.10'
