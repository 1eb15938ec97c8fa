#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make this checkout ready to run: compilers and emulators from the system, Python packages in .venv, nothing else.
#
#   sh ci/setup.sh           install what is missing
#   sh ci/setup.sh --check   say what is missing, change nothing
#
# Exit status: 0 ready, 3 something is missing and could not be installed.
# PYTHON names the interpreter that .venv is made from (default python3). The global Python is never changed.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv
stamp=$venv/.setup-stamp
cd "$root"

# What has to answer, and the Debian package that brings it. A compiler `@` file: that compiler must find the file.
requirements='
gcc                                          gcc
g++                                          g++
make                                         make
cmake                                        cmake
clang                                        clang
git                                          git
arm-none-eabi-gcc                            gcc-arm-none-eabi
arm-none-eabi-gcc@nano.specs                 libnewlib-arm-none-eabi
riscv64-unknown-elf-gcc                      gcc-riscv64-unknown-elf
riscv64-unknown-elf-gcc@picolibc.specs       picolibc-riscv64-unknown-elf
qemu-system-arm                              qemu-system-arm
qemu-system-riscv32                          qemu-system-misc
'

have() {
    case $1 in
        *@*)
            command -v "${1%@*}" >/dev/null 2>&1 || return 1
            # The compiler echoes the bare name when it does not find the file.
            case $("${1%@*}" -print-file-name="${1#*@}") in */*) return 0 ;; *) return 1 ;; esac
            ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Prints the Debian packages that are missing, on one line.
missing_packages() {
    echo "$requirements" | while read -r what package; do
        [ -z "$what" ] || have "$what" || printf '%s ' "$package"
    done
    if ! command -v "${PYTHON:-python3}" >/dev/null 2>&1; then
        printf 'python3 python3-venv '
    elif [ ! -x "$venv/bin/python" ] && ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        printf 'python3-venv '
    fi
}

fail() {
    echo "setup: $*" >&2
    exit 3
}

# Runs apt-get as root, or not at all: never asks for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

install_packages() {
    advice="Install these (Debian and Ubuntu names) and try again: apt-get install $*"
    command -v apt-get >/dev/null 2>&1 || fail "tools are missing and there is no apt-get here. $advice"
    if [ "$(id -u)" != 0 ] && ! sudo -n true >/dev/null 2>&1; then
        fail "tools are missing and apt-get needs root. $advice"
    fi
    echo "setup: apt-get install $*" >&2
    log=$(mktemp)
    # Lists that cannot be refreshed may still be good enough, so only the install decides.
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 || true
    if ! as_root apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install what is missing. $advice"
    fi
    rm -f "$log"
}

# Changes when anything that decides what is in .venv does.
wanted_stamp() {
    { echo "$root" && cat pyproject.toml constraints.txt ci/setup.sh; } | sha256sum
}

install_python_packages() {
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
        "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "Python 3.11 or newer is needed. Set PYTHON to one, for instance: make setup PYTHON=python3.12"
        echo "setup: making .venv" >&2
        "${PYTHON:-python3}" -m venv --clear "$venv"
    fi
    echo "setup: installing Python packages into .venv (the first time takes some minutes)" >&2
    # pip first: the one that comes with older Pythons does not know --group. Then setuptools (in the group), so that
    # the project itself is built with it and not with a copy downloaded for the occasion.
    pip="$venv/bin/python -m pip --disable-pip-version-check -qq"
    $pip install -c constraints.txt --upgrade pip &&
        $pip install -c constraints.txt --group dev &&
        $pip install -c constraints.txt --no-build-isolation -e '.[rtl]' ||
        fail "pip could not install the packages into .venv; its message is above"
}

missing=$(missing_packages)
if [ "${1:-}" = --check ]; then
    [ -z "$missing" ] || fail "missing: ${missing% }"
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_stamp)" ] || fail ".venv is missing or out of date: make setup"
    exit 0
fi

if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # one word per package
    install_packages $missing
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "still missing after apt-get: ${missing% }"
fi

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(wanted_stamp)" ]; then
    rm -f "$stamp"
    install_python_packages
    wanted_stamp >"$stamp"
fi
