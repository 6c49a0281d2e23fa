# shellcheck shell=bash
# Functions that the scripts in this folder share. Sourced, never run.
#
# Habits kept by all of them: messages go to stderr, so that stdout is free for a result; servers listen on
# 127.0.0.1 only; a process is stopped by the id under which it was started, after checking that the id still
# belongs to it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# The scripts as others call them.
# shellcheck disable=SC2034
RABBITMQ=$ROOT/deploy/scripts/rabbitmq.sh POSTGRES=$ROOT/deploy/scripts/postgres.sh

log() { printf '%s\n' "$*" >&2; }

die() {
  log "error: $*"
  exit 1
}

# The absolute path of DIR, which need not exist yet.
absolute() { case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s/%s\n' "$PWD" "$1" ;; esac }

# --- ports -----------------------------------------------------------------------------------------------------

port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port nobody listens on: the preferred one if given and free, else the next one in a round through a range
# below the one from which the kernel takes the client side of connections. A round, counted in .local/next-port,
# keeps scripts that run at the same time apart, and a stopped server's port free until it starts again.
# shellcheck disable=SC2120
free_port() (
  port=${1:-}
  if [[ -z $port ]] || port_is_open "$port"; then
    mkdir -p "$ROOT/.local"
    exec 9>>"$ROOT/.local/next-port"
    flock 9
    port=$(<"$ROOT/.local/next-port")
    port=${port:-$((20000 + RANDOM % 12000))} # anywhere at first: another checkout may count too
    while port=$((port < 31999 ? port + 1 : 20000)) && port_is_open "$port"; do :; done
    printf '%s\n' "$port" >"$ROOT/.local/next-port"
  fi
  printf '%s\n' "$port"
)

# --- processes -------------------------------------------------------------------------------------------------

# The moment a process started, in clock ticks since boot; fails for one that is gone or only a zombie.
started_at() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }" # the second field, the name, may hold spaces: start behind its bracket
  [[ ${fields[0]} != Z ]] && printf '%s\n' "${fields[19]}"
}

# remember_process PID FILE: the id alone might be reused by the kernel, with its start time it is unique.
remember_process() { printf '%s %s\n' "$1" "$(started_at "$1" || true)" >"$2"; }

# Prints the process id in FILE if that very process still runs.
running_process() {
  local pid='' start=''
  [[ -f $1 ]] && read -r pid start <"$1"
  [[ -n $start && $(started_at "$pid" || true) == "$start" ]] && printf '%s\n' "$pid"
}

# wait_gone FILE SECONDS: waits until the process in FILE has ended.
wait_gone() {
  local tries=$(($2 * 20))
  while running_process "$1" >/dev/null; do
    ((tries-- > 0)) || return 1
    sleep 0.05
  done
}

# stop_process FILE SIGNAL SECONDS: asks politely, then insists. Fails if it had to insist.
stop_process() {
  local pid
  pid=$(running_process "$1") || return 0
  kill -s "$2" "$pid" 2>/dev/null || true
  wait_gone "$1" "$3" && return 0
  log "process $pid has not ended within $3 s of SIG$2: killing it"
  kill -s KILL "$pid" 2>/dev/null || true
  wait_gone "$1" 10 || true
  return 1
}

# become_below TREE DIR CERTS PROGRAM ARGS…: becomes the program, and where TREE is not empty with that folder as its root.
# What it needs of this machine (the folders of its server, users, temporary files) is mounted there for itself alone;
# the mounts are gone with the process, which keeps its id through all of this.
become_below() {
  [[ -n $1 ]] || exec "${@:4}"
  # shellcheck disable=SC2016
  exec unshare --mount -- bash -euc '
    tree=$1 shared=(/proc /dev /sys /tmp /var/tmp "$2" "${3:-$2}")
    shift 3
    for folder in "${shared[@]}"; do
      mkdir -p "$tree$folder"
      mount --rbind "$folder" "$tree$folder"
    done
    for file in /etc/passwd /etc/group; do mount --bind "$file" "$tree$file"; done
    exec chroot "$tree" "$@"' - "$@"
}

# --- packages --------------------------------------------------------------------------------------------------

# install_package PACKAGE [SERVICE…]: installs a Debian package without starting or enabling its services, because
# what we need are the programs: our servers are private ones.
install_package() {
  local package=$1 root=()
  if ((EUID != 0)); then
    root=(sudo -n)
    "${root[@]}" true 2>/dev/null || die "the Debian package '$package' is missing: install it (as root: apt-get install $package)"
  fi
  command -v apt-get >/dev/null || die "'$package' is missing and there is no apt-get to install it"
  log "installing the Debian package $package"
  # policy-rc.d is how Debian lets a machine forbid package scripts to start services.
  "${root[@]}" bash -s -- "$@" >&2 <<'ROOT' || die "the Debian package '$package' could not be installed"
    set -eu
    exec 9>/run/waybill-install.lock && flock 9
    policy=/usr/sbin/policy-rc.d
    restore() { rm -f $policy; if [ -e $policy.waybill ]; then mv $policy.waybill $policy; fi; }
    trap restore EXIT
    trap 'exit 130' INT TERM HUP
    if [ -e $policy ]; then mv $policy $policy.waybill; fi
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    export DEBIAN_FRONTEND=noninteractive
    install() { apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$1" </dev/null 9>&-; }
    install "$1" || { apt-get -qq update && install "$1"; }
    shift
    for service in "$@"; do systemctl disable "$service" >/dev/null 2>&1 || true; done
ROOT
}

# A Rust toolchain brings no C compiler, and SQLite and the TLS library are partly written in C.
need_build_tools() {
  command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain (https://rustup.rs)"
  command -v cc >/dev/null || install_package build-essential
}

# --- runs ------------------------------------------------------------------------------------------------------

# Prints a new directory for the state of one run.
create_run_dir() {
  mkdir -p "$ROOT/.local"
  mktemp -d "$ROOT/.local/run-XXXXXX"
}

# keep_logs DIR RESULT: saves the logs of a run that failed (and was not just interrupted).
keep_logs() {
  local kept=${1##*/}
  kept=$ROOT/.local/failed-${kept#run-}
  (($2 != 0 && $2 < 128)) || return 0
  rm -rf "$kept" && mkdir -p "$kept"
  (cd "$1" && find . -name '*.log' -size +0 -exec cp --parents -t "$kept" {} +)
  rmdir "$kept" 2>/dev/null || log "the logs of the failed run are kept in $kept"
}

remove_run_dir() {
  if [[ -d $1/postgres ]]; then "$POSTGRES" destroy "$1/postgres" || true; fi
  rm -rf "$1"
}

# --- the whole stack: broker, an SQLite file, Waybill with all its roles ------------------------------------------

# Builds Waybill and sets WAYBILL to the program.
build_waybill() {
  need_build_tools
  log "building waybill (release)"
  (cd "$ROOT" && cargo build --release --locked --bin waybill)
  WAYBILL=$(cd "$ROOT" && absolute "${CARGO_TARGET_DIR:-target}")/release/waybill
}

# http_ok PORT PATH: whether a GET is answered by 200.
http_ok() (
  status=''
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
  read -r -t 5 status <&3
  [[ $status == 'HTTP/1.1 200'* ]]
) 2>/dev/null

# start_stack DIR GRPC_PORT HTTP_PORT: starts all of it with its state in DIR, sets WAYBILL_PID and returns when
# Waybill is ready. Uses the broker that WAYBILL_AMQP_URL names, under a prefix of its own; else starts a private one.
start_stack() {
  local dir=$1 deadline
  if [[ -n ${WAYBILL_AMQP_URL:-} ]]; then
    export WAYBILL_AMQP_PREFIX=${WAYBILL_AMQP_PREFIX:-waybill-demo.}
    log "using the broker of WAYBILL_AMQP_URL; its queues are called $WAYBILL_AMQP_PREFIX…"
  else
    log "starting a private RabbitMQ"
    WAYBILL_AMQP_URL=$("$RABBITMQ" start "$dir/rabbitmq")
    export WAYBILL_AMQP_URL
  fi
  export WAYBILL_DATABASE_URL="sqlite://$dir/waybill.db?mode=rwc"
  export WAYBILL_GRPC_ADDR=127.0.0.1:$2 WAYBILL_HTTP_ADDR=127.0.0.1:$3
  export WAYBILL_ORDER_BLOCKED_CUSTOMERS=${WAYBILL_ORDER_BLOCKED_CUSTOMERS-blocked-1,blocked-2,blocked-3,blocked-4,blocked-5}
  log "starting waybill: gRPC on $WAYBILL_GRPC_ADDR, health on http://$WAYBILL_HTTP_ADDR"
  # A session of its own, so that Ctrl-C reaches this script first, which then stops things in order.
  (cd "$dir" && exec setsid "$WAYBILL" serve) </dev/null >>"$dir/waybill.log" 2>&1 &
  WAYBILL_PID=$!
  remember_process "$WAYBILL_PID" "$dir/waybill.pid"
  deadline=$((SECONDS + 60))
  until http_ok "$3" /readyz; do
    if ((SECONDS > deadline)) || ! running_process "$dir/waybill.pid" >/dev/null; then
      tail -n 20 "$dir/waybill.log" >&2
      log "waybill did not become ready"
      return 1
    fi
    sleep 0.1
  done
}

# stop_stack DIR: Waybill first, so that it can drain into a broker that still runs. Fails if Waybill had to be killed.
stop_stack() {
  local result=0
  stop_process "$1/waybill.pid" TERM 60 || result=$?
  if [[ -f $1/rabbitmq/settings ]]; then "$RABBITMQ" stop "$1/rabbitmq" || true; fi
  return "$result"
}
