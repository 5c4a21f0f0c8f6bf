#!/bin/sh
# Makes this machine trust the certificate authority whose root is ca.crt beside this script.
#
#   sh install.sh [--registry HOST[:PORT]] WHAT...
#
#   system       the operating system's store: Debian, Ubuntu, Alpine; RHEL, Fedora, Rocky, Alma, SUSE; Arch
#   containerd   /etc/containerd/certs.d, for the registry       (nothing restarts)
#   docker       /etc/docker/certs.d, for the registry           (nothing restarts)
#   cri-o        /etc/containers/certs.d, for the registry       (also Podman, Buildah, Skopeo; nothing restarts)
#   k3s, rke2    a file for `ca_file` in registries.yaml
#   java         the store of the Java runtime that JAVA_HOME or the PATH names
#   firefox      a policy for every user of this machine
#   nss          the store of Chromium and Chrome of the user who runs this
#
# Harmless to repeat. DESTDIR=/some/root copies files below that folder and runs nothing else.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
ca=${CA:-$here/ca.crt}
name=${CA_NAME:-enclave-ca}
root=${DESTDIR:-}
registry=${REGISTRY:-}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# Copies the root to a path when it is not there yet; says so.
put() {
  if cmp -s "$ca" "$root$1"; then
    say "unchanged: $root$1"
  else
    mkdir -p "$root$(dirname -- "$1")"
    cp "$ca" "$root$1.new"
    chmod 0644 "$root$1.new"
    mv "$root$1.new" "$root$1"
    say "written:   $root$1"
  fi
}

# Reads a certificate in PEM form and prints what is between its first and its last line, without line breaks.
body() { sed -n '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p' | grep -v -e '-----' | tr -d '\r\n'; }

# Runs a command of the system, unless the files go elsewhere.
run() {
  if [ -n "$root" ]; then say "then run:  $*"; else "$@"; fi
}

for_registry() {
  [ -n "$registry" ] || fail "$1 trusts a root for one registry: --registry HOST[:PORT]"
}

system() {
  if [ -e "$root/etc/pki/ca-trust/source" ]; then
    put "/etc/pki/ca-trust/source/anchors/$name.crt"
    run update-ca-trust extract
  elif [ -e "$root/etc/ca-certificates/trust-source" ]; then
    put "/etc/ca-certificates/trust-source/anchors/$name.crt"
    run update-ca-trust extract
  elif [ -e "$root/etc/pki/trust/anchors" ]; then
    put "/etc/pki/trust/anchors/$name.crt"
    run update-ca-certificates
  elif [ -e "$root/usr/share/ca-certificates" ] || [ -e "$root/etc/ssl/certs" ]; then
    # The name must end in .crt and the file must hold one certificate, or it is passed over.
    put "/usr/local/share/ca-certificates/$name.crt"
    run update-ca-certificates
  else
    fail "this system's trust store is not known here"
  fi
}

containerd() {
  for_registry containerd
  put "/etc/containerd/certs.d/$registry/ca.crt"
}

docker() {
  for_registry docker
  put "/etc/docker/certs.d/$registry/ca.crt"
}

crio() {
  for_registry cri-o
  put "/etc/containers/certs.d/$registry/ca.crt"
}

rancher() {
  put /etc/rancher/enclave-registry-ca.crt
}

java() {
  keytool=keytool
  if [ -n "${JAVA_HOME:-}" ]; then keytool=$JAVA_HOME/bin/keytool; fi
  command -v "$keytool" >/dev/null || fail "no keytool: set JAVA_HOME"
  password=${JAVA_STOREPASS:-changeit}
  # JAVA_KEYSTORE names a store of an application; otherwise the one of the runtime is meant.
  if [ -n "${JAVA_KEYSTORE:-}" ]; then set -- -keystore "$JAVA_KEYSTORE"; else set -- -cacerts; fi
  there=$("$keytool" -exportcert -rfc "$@" -storepass "$password" -alias "$name" 2>/dev/null | body || true)
  if [ "$there" = "$(body <"$ca")" ]; then
    say "unchanged: alias $name in the store of Java"
    return
  fi
  if [ -n "$there" ]; then "$keytool" -delete "$@" -storepass "$password" -alias "$name"; fi
  "$keytool" -importcert -noprompt -trustcacerts "$@" -storepass "$password" -alias "$name" -file "$ca"
  say "written:   alias $name in the store of Java"
}

firefox() {
  put "/usr/lib/mozilla/certificates/$name.crt"
  policies=$root/etc/firefox/policies/policies.json
  wanted='{"policies": {"Certificates": {"ImportEnterpriseRoots": true, "Install": ["'$name'.crt"]}}}'
  if [ ! -e "$policies" ]; then
    mkdir -p "$(dirname -- "$policies")"
    printf '%s\n' "$wanted" >"$policies"
    say "written:   $policies"
  elif grep -q "\"$name.crt\"" "$policies"; then
    say "unchanged: $policies"
  else
    fail "$policies is there: add $wanted to it by hand"
  fi
}

nss() {
  command -v certutil >/dev/null || fail "no certutil: it is in libnss3-tools or nss-tools"
  store=${NSS_STORE:-$HOME/.pki/nssdb}
  if [ ! -e "$store/cert9.db" ]; then
    mkdir -p "$store"
    certutil -d "sql:$store" -N --empty-password
  fi
  certutil -d "sql:$store" -D -n "$name" 2>/dev/null || true
  certutil -d "sql:$store" -A -t C,, -n "$name" -i "$ca"
  say "written:   $name in $store"
}

case ${1:-} in
  --registry) [ $# -ge 2 ] || fail '--registry needs a host'; registry=$2; shift 2 ;;
  --registry=*) registry=${1#--registry=}; shift ;;
esac
[ $# -gt 0 ] || fail 'say what: system containerd docker cri-o k3s rke2 java firefox nss'
[ -r "$ca" ] || fail "$ca is not there"
if grep -q 'PRIVATE KEY' "$ca"; then fail "$ca holds a private key: it must not be handed out"; fi
grep -q 'BEGIN CERTIFICATE' "$ca" || fail "$ca is no certificate in PEM form"
for what in "$@"; do
  case $what in
    system) system ;;
    containerd) containerd ;;
    docker) docker ;;
    cri-o | crio | podman) crio ;;
    k3s | rke2) rancher ;;
    java) java ;;
    firefox) firefox ;;
    nss) nss ;;
    *) fail "$what is not known: system containerd docker cri-o k3s rke2 java firefox nss" ;;
  esac
done
