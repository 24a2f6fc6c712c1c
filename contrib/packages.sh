# Sourced by contrib/try and contrib/check: what to install, by distribution, and how to ask first.
# shellcheck shell=bash

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ -z "${2:-}" ] || printf '  -> %s\n' "$2" >&2; exit 1; }

# Prints the distribution's family: debian (also Ubuntu), fedora, arch, or nothing.
family() {
  local id='' id_like=''
  # shellcheck disable=SC1091
  [ -r /etc/os-release ] && id=$(. /etc/os-release && echo "${ID:-}") && id_like=$(. /etc/os-release && echo "${ID_LIKE:-}")
  case " $id $id_like " in
    *' debian '* | *' ubuntu '*) echo debian ;;
    *' fedora '* | *' rhel '*) echo fedora ;;
    *' arch '*) echo arch ;;
  esac
}

# Prints the package that gives a thing, by family. Things are programs, or ovmf and python-venv.
package_of() {
  case "$1:$2" in
    debian:qemu-system-x86_64) echo qemu-system-x86 ;;
    fedora:qemu-system-x86_64) echo qemu-system-x86-core ;;
    arch:qemu-system-x86_64) echo qemu-base ;;
    debian:qemu-img) echo qemu-utils ;;
    fedora:qemu-img) echo qemu-img ;;
    arch:qemu-img) echo qemu-img ;;
    debian:ovmf) echo ovmf ;;
    fedora:ovmf | arch:ovmf) echo edk2-ovmf ;;
    debian:python3) echo python3 ;;
    fedora:python3) echo python3 ;;
    arch:python3) echo python ;;
    debian:python-venv) echo python3-venv ;;
    *:mke2fs) echo e2fsprogs ;;
    *:qemu-ga) echo qemu-guest-agent ;;
    debian:lstopo) echo hwloc-nox ;;
    fedora:lstopo | arch:lstopo) echo hwloc ;;
    arch:dbus-daemon) echo dbus ;;
    *:unshare) echo util-linux ;;
    debian:lld-link | fedora:lld-link | arch:lld-link) echo lld ;;
    *) echo "$2" ;;
  esac
}

# Whether a thing is here.
has() {
  case "$1" in
    ovmf) [ -n "$(find /usr/share/qemu/firmware /usr/share/OVMF /usr/share/edk2 -name '*OVMF*' -print -quit 2>/dev/null)" ] ||
      grep -lqs '"uefi"' /usr/share/qemu/firmware/*.json ;;
    python-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

# Runs a command and shows what it said only if it failed.
quietly() {
  local said
  said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; return 1; }
}

# Installs what is missing of the things named; asks first, unless YES is 1.
need() {
  local missing=() thing kind as_root=()
  kind=$(family)
  for thing in "$@"; do has "$thing" || missing+=("$(package_of "$kind" "$thing")"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  [ -n "$kind" ] || fail "these are missing and this distribution is not known here: ${missing[*]}" 'install them and run this again'
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "these packages are missing: ${missing[*]}" 'install them as root and run this again'
    as_root=(sudo)
  fi
  say "These packages are missing and will be installed: ${missing[*]}"
  if [ "${YES:-0}" != 1 ]; then
    [ -t 0 ] || fail 'nobody is there to agree to that' 'run this with --yes, or install them by hand'
    local answer
    read -r -p 'Go on? [y/N] ' answer
    [[ $answer == [yY]* ]] || fail 'nothing was installed' 'run this again when you agree'
  fi
  case "$kind" in
    debian)
      quietly "${as_root[@]}" apt-get update || say 'The package list could not be refreshed; going on with the old one.'
      quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" ;;
    fedora) quietly "${as_root[@]}" dnf install -y --setopt=install_weak_deps=False "${missing[@]}" ;;
    arch) quietly "${as_root[@]}" pacman -S --needed --noconfirm "${missing[@]}" ;;
  esac || fail "installing ${missing[*]} failed" 'its messages are above'
  for thing in "$@"; do has "$thing" || fail "$thing is still missing after the installation" 'install it by hand'; done
}

# Makes the project's own Python environment in .venv and puts qlaunch into it; $1 is "" or "[dev]".
environment() {
  local extra=$1 root=$2
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; this is $(python3 -V)" 'install a newer python3'
  [ -x "$root/.venv/bin/python" ] || python3 -m venv "$root/.venv" || fail 'cannot make a Python environment in .venv'
  # Only when what it is made from has changed: a second run works without a network.
  local stamp
  stamp="$(cksum <"$root/pyproject.toml") $extra"
  [ "$(cat "$root/.venv/qlaunch-stamp" 2>/dev/null)" = "$stamp" ] && return 0
  say "Installing qlaunch's Python packages into .venv"
  "$root/.venv/bin/python" -m pip install -q --disable-pip-version-check --config-settings editable_mode=compat -e "$root$extra" || fail 'installing the Python packages failed' 'its messages are above'
  printf '%s' "$stamp" >"$root/.venv/qlaunch-stamp"
}
