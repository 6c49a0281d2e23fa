#!/usr/bin/env bash
# A private PostgreSQL server for tests and demonstrations, as root or as any other user.
#
#   postgres.sh start DIR     start it, print its URL (superuser `waybill`, database `waybill`, no password)
#   postgres.sh start DIR --tls CERTS   the same over TLS only, for whoever has a certificate
#   postgres.sh stop DIR      stop it cleanly; its data and port stay for the next start
#   postgres.sh kill DIR      SIGKILL to every process of it, as a crash would
#   postgres.sh restart DIR   stop it cleanly if it runs, and start it with the same port and data
#   postgres.sh destroy DIR   stop it and remove DIR and the data
#   postgres.sh install       install the Debian package if it is missing; its service is not started
#
# All state lives in DIR: `settings` (port, user, data directory), `env` (URL=…), `pid`, `postgres.log` and `data`.
# CERTS holds ca.pem, server.pem and server.key for the name localhost, and client.pem and client.key of whoever starts it.
# PostgreSQL refuses to run as root, and the user it then runs as may be unable to reach DIR: as root the data lies
# in a directory of its own below /var/tmp, which `destroy` removes. The server listens on 127.0.0.1 only, on a port
# of its own and without a Unix socket; the machine's own PostgreSQL is never touched. fsync stays on: what the
# tests prove about durability must be true.
#
# WAYBILL_SERVERS_ROOT is the root folder of a Debian with another PostgreSQL (`debian-13.sh` makes one), which becomes
# the root of the programs of every new server: only root can do that.
# shellcheck disable=SC2153 # RUN_AS, PORT and DATA come from the file `settings`
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  sed -n '4,10s/^#  *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

TREE=${WAYBILL_SERVERS_ROOT:-}

# The newest version, by the directory that holds its programs.
find_programs() { compgen -G "$TREE/usr/lib/postgresql/*/bin/postgres" | sort -V | tail -n 1 | xargs -r dirname; }

install_postgres() {
  [[ -n $TREE || -n $(find_programs) ]] || install_package postgresql postgresql
  BIN=$(find_programs) || true
  [[ -n $BIN ]] || die "no PostgreSQL below $TREE/usr/lib/postgresql"
  BIN=${BIN#"$TREE"}
}

# become replaces this shell by a program of PostgreSQL, as the user the server runs as, in a directory that user can
# reach; run does so in a subshell.
become() {
  local user=()
  cd /
  [[ $RUN_AS == "$(id -un)" ]] || user=(setpriv --reuid="$RUN_AS" --regid="$(id -g "$RUN_AS")" --init-groups
    env HOME="$(getent passwd "$RUN_AS" | cut -d: -f6)" USER="$RUN_AS")
  become_below "$TREE" "$DIR" "$CERTS" "${user[@]}" "$@"
}
run() (become "$@")

# Chooses user, port and data directory on the first start; every later one finds the same.
create_settings() {
  local run_as=postgres data=$DIR/data port
  mkdir -p "$DIR"
  [[ -f $DIR/settings ]] && return
  if ((EUID != 0)); then
    run_as=$(id -un)
  else
    id postgres >/dev/null 2>&1 || run_as=nobody
    data=$(mktemp -d /var/tmp/waybill-postgres-XXXXXX)
    chown "$run_as" "$data"
  fi
  # shellcheck disable=SC2119
  port=$(free_port)
  printf '%s=%q\n' PORT "$port" RUN_AS "$run_as" DATA "$data" BIN "$BIN" CERTS "$CERTS" TREE "$TREE" >"$DIR/settings"
  printf 'URL=postgres://waybill@127.0.0.1:%s/waybill\n' "$port" >"$DIR/env"
}

load_settings() {
  [[ -f $DIR/settings ]] || die "$DIR holds no PostgreSQL server"
  # Sets PORT, RUN_AS, DATA, BIN, CERTS and TREE.
  # shellcheck source=/dev/null
  . "$DIR/settings"
  unset "${!PG@}" # PGDATA and its kin are for the machine's own server
}

create_data() {
  # A crash of the machine while the empty files are written does no harm: --no-sync. The server itself syncs.
  run "$BIN/initdb" --pgdata="$DATA" --username=waybill --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync \
    >"$DIR/initdb.log" 2>&1 || die "initdb failed: $(tail -n 5 "$DIR/initdb.log")"
  run tee -a "$DATA/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $PORT
unix_socket_directories = ''
max_connections = 300
shared_buffers = 256MB
fsync = on
CONF
  [[ -z $CERTS ]] || add_tls
  run "$BIN/postgres" --single -D "$DATA" postgres <<<'CREATE DATABASE waybill' >>"$DIR/initdb.log" 2>&1 ||
    die "cannot create the database: $(tail -n 5 "$DIR/initdb.log")"
  touch "$DIR/created"
}

# The server reads its key as the user that it runs as, and refuses one that others can read.
add_tls() {
  local file
  for file in ca.pem server.pem server.key; do
    install -m 600 -o "$RUN_AS" "$CERTS/$file" "$DATA/$file"
  done
  run tee -a "$DATA/postgresql.conf" >/dev/null <<CONF
ssl = on
ssl_ca_file = 'ca.pem'
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
CONF
  run tee "$DATA/pg_hba.conf" >/dev/null <<<'hostssl all all 127.0.0.1/32 trust clientcert=verify-ca'
  printf 'URL=postgres://waybill@localhost:%s/waybill\n' "$PORT" >"$DIR/env"
}

ready() (
  [[ -z $CERTS ]] || export PGSSLMODE=require PGSSLCERT=$CERTS/client.pem PGSSLKEY=$CERTS/client.key
  become_below "$TREE" "$DIR" "$CERTS" "$BIN/psql" --no-psqlrc -h 127.0.0.1 -p "$PORT" -U waybill -d waybill -Atqc '' >/dev/null 2>&1
)

start() {
  local deadline=$((SECONDS + 60))
  create_settings
  load_settings
  [[ -f $DIR/created ]] || create_data
  if ! running_process "$DIR/pid" >/dev/null; then
    port_is_open "$PORT" && die "port $PORT of $DIR has been taken by another program"
    # Left by a kill, and the process id in it may by now be another's; ours is known to be gone.
    rm -f "$DATA/postmaster.pid"
    # A session of its own: Ctrl-C in the caller's terminal is for the caller, who then stops the server.
    become setsid "$BIN/postgres" -D "$DATA" </dev/null >>"$DIR/postgres.log" 2>&1 &
    remember_process $! "$DIR/pid"
    trap 'stop_server; exit 130' INT TERM HUP
  fi
  until ready; do
    if ((SECONDS > deadline)) || ! running_process "$DIR/pid" >/dev/null; then
      tail -n 20 "$DIR/postgres.log" >&2
      stop_server || true
      die "PostgreSQL did not start; its log is $DIR/postgres.log"
    fi
    sleep 0.1
  done
  sed -n 's/^URL=//p' "$DIR/env"
}

# SIGINT is PostgreSQL's fast stop: sessions are ended, everything is written.
stop_server() {
  local result=0
  stop_process "$DIR/pid" INT 30 || result=$?
  rm -f "$DIR/pid"
  return "$result"
}

# The server's children are killed with it: left alone they would notice its death only after a while, and a new
# server would refuse to start beside them.
kill_server() {
  local pid children=() child
  pid=$(running_process "$DIR/pid") || return 0
  kill -s STOP "$pid" # so that no child is started while they are counted
  read -ra children <"/proc/$pid/task/$pid/children" || true
  kill -s KILL "$pid" "${children[@]}" 2>/dev/null || true
  for child in "$pid" "${children[@]}"; do
    while started_at "$child" >/dev/null; do sleep 0.02; done
  done
  rm -f "$DIR/pid"
}

(($# >= 1)) || usage
COMMAND=$1 CERTS=''
if [[ $COMMAND != install ]]; then
  (($# >= 2)) || usage
  DIR=$(absolute "$2")
  if [[ ${3:-} == --tls ]]; then CERTS=$(absolute "${4:?--tls needs a directory}"); fi
fi

case $COMMAND in
  install) install_postgres ;;
  start)
    install_postgres
    start
    ;;
  restart)
    load_settings
    stop_server || kill_server
    start
    ;;
  stop) load_settings && stop_server ;;
  kill) load_settings && kill_server ;;
  destroy)
    if [[ -f $DIR/settings ]]; then
      load_settings
      stop_server || kill_server
      rm -rf "$DATA"
    fi
    rm -rf "$DIR"
    ;;
  *) usage ;;
esac
