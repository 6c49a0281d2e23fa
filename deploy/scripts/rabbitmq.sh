#!/usr/bin/env bash
# A private RabbitMQ node for tests and demonstrations, as root or as any other user.
#
#   rabbitmq.sh start DIR [--join OTHER | --management]   start a node, print its URL; --join makes it a member of
#                                          OTHER's cluster; --management prints that interface's URL before it
#   rabbitmq.sh start DIR --tls CERTS      start a node that also speaks TLS with whoever has a certificate, print that URL
#   rabbitmq.sh start DIR --root TREE      start a node whose programs are those of another Debian (see below), print its URL
#   rabbitmq.sh stop DIR                   stop it cleanly; its data and ports stay for the next start
#   rabbitmq.sh kill DIR                   SIGKILL, as a crash would
#   rabbitmq.sh restart DIR                stop it cleanly if it runs, and start it with the same ports and data
#   rabbitmq.sh destroy DIR                stop it and remove DIR
#   rabbitmq.sh ctl DIR ARGS…              rabbitmqctl for this node
#   rabbitmq.sh install                    install the Debian package if it is missing; its service is not started
#
# TREE is the root folder of a Debian with another RabbitMQ (`debian-13.sh` makes one), and becomes the root of the
# node's programs: only root can do that. WAYBILL_SERVERS_ROOT names one for every new node.
#
# All state lives in DIR: `settings` (ports, node name, root), `env` (URL=…), `pid`, `data`, `log`, and `home` with the
# Erlang cookie. CERTS holds ca.pem, server.pem and server.key, for the name localhost. The broker, its Erlang
# distribution and epmd listen on 127.0.0.1 only, on ports of their own, so any number of nodes can run beside each
# other and beside the machine's own RabbitMQ, which is never touched.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  sed -n '4,13s/^#  *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

OTHER_ROOT=${WAYBILL_SERVERS_ROOT:-}

# Debian's /usr/sbin/rabbitmq-server refuses every user but its own; the programs behind it do not.
find_programs() { compgen -G "$OTHER_ROOT/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin" | sort -V | tail -n 1; }

install_rabbitmq() {
  [[ -n $OTHER_ROOT || -n $(find_programs) ]] || install_package rabbitmq-server rabbitmq-server epmd.service epmd.socket
  SBIN=$(find_programs) || true
  [[ -n $SBIN ]] || die "no RabbitMQ below $OTHER_ROOT/usr/lib/rabbitmq"
  SBIN=${SBIN#"$OTHER_ROOT"}
}

become() { become_below "$OTHER_ROOT" "$DIR" "$CERTS" "$@"; }

setting() { sed -n "s/^$1=//p" "$2/settings"; }

# Chooses ports and name on the first start; every later one finds the same.
create_settings() {
  local amqp=0 dist=0 epmd=0
  mkdir -p "$DIR/home" "$DIR/data" "$DIR/log"
  [[ -f $DIR/settings ]] && return
  # shellcheck disable=SC2119
  amqp=$(free_port) dist=$(free_port) epmd=$(free_port)
  if [[ -n $JOIN ]]; then # members of a cluster find each other by one epmd and trust each other by one cookie
    epmd=$(setting EPMD_PORT "$JOIN")
    install -m 600 "$JOIN/home/.erlang.cookie" "$DIR/home/.erlang.cookie"
  fi
  printf '%s\n' "OTHER_ROOT=$OTHER_ROOT" "CERTS=$CERTS" "AMQP_PORT=$amqp" "DIST_PORT=$dist" "EPMD_PORT=$epmd" \
    "NODE=waybill-$amqp@localhost" >"$DIR/settings"
  printf 'URL=amqp://guest:guest@127.0.0.1:%s/%%2f\n' "$amqp" >"$DIR/env"
  printf '[].\n' >"$DIR/enabled_plugins"
  cat >"$DIR/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$amqp
disk_free_limit.absolute = 50MB
log.file.level = info
log.connection.level = error
CONF
  [[ -z $CERTS ]] || add_tls
  [[ -z $MANAGEMENT ]] || enable_management "$(free_port)"
}

# A second port, for TLS; the first one stays, for the look whether the broker serves.
add_tls() {
  local port
  # shellcheck disable=SC2119
  port=$(free_port)
  printf 'URL=amqps://guest:guest@localhost:%s/%%2f\n' "$port" >"$DIR/env"
  cat >>"$DIR/rabbitmq.conf" <<CONF
listeners.ssl.1 = 127.0.0.1:$port
ssl_options.cacertfile = $CERTS/ca.pem
ssl_options.certfile = $CERTS/server.pem
ssl_options.keyfile = $CERTS/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
CONF
}

# enable_management PORT
enable_management() {
  printf '[rabbitmq_management].\n' >"$DIR/enabled_plugins"
  printf '%s\n' 'management.tcp.ip = 127.0.0.1' "management.tcp.port = $1" >>"$DIR/rabbitmq.conf"
  sed -i "1i MANAGEMENT_URL=http://127.0.0.1:$1" "$DIR/env" # the broker's own URL stays the last line
}

# The environment of server and rabbitmqctl alike: nothing of the machine's own RabbitMQ is read or written.
load_settings() {
  [[ -f $DIR/settings ]] || die "$DIR holds no RabbitMQ node"
  # shellcheck source=/dev/null
  . "$DIR/settings"
  local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
  unset "${!RABBITMQ_@}" NOTIFY_SOCKET
  export HOME=$DIR/home ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$EPMD_PORT
  export RABBITMQ_BASE=$DIR RABBITMQ_CONF_ENV_FILE=$DIR/no-environment-file
  export RABBITMQ_CONFIG_FILE=$DIR/rabbitmq.conf RABBITMQ_ADVANCED_CONFIG_FILE=$DIR/no-advanced.config
  export RABBITMQ_GENERATED_CONFIG_DIR=$DIR/data/config RABBITMQ_SCHEMA_DIR=$DIR/data/schema
  export RABBITMQ_ENABLED_PLUGINS_FILE=$DIR/enabled_plugins RABBITMQ_FEATURE_FLAGS_FILE=$DIR/data/feature_flags
  export RABBITMQ_MNESIA_BASE=$DIR/data RABBITMQ_LOG_BASE=$DIR/log RABBITMQ_PID_FILE=$DIR/data/server.pid
  export RABBITMQ_NODENAME=$NODE RABBITMQ_NODE_PORT=$AMQP_PORT RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
  export RABBITMQ_DIST_PORT=$DIST_PORT RABBITMQ_CTL_ERL_ARGS=$loopback
  export RABBITMQ_SCHEDULER_BIND_TYPE=u # threads free to move: several nodes share the processors
  # ALLOW_INPUT makes the start script become the server, so that its process id is the server's;
  # -noinput then says that there is no console all the same.
  export RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback -noinput"
}

# send BYTES and expect METHOD speak AMQP 0-9-1 on file descriptor 3. A frame is one byte of type, two of channel, four of
# size, the payload, an end mark; a payload starts with class and method, two bytes each.
send() { printf '%b' "$1" >&3; }
expect() {
  local frame payload
  read -ra frame <<<"$(timeout 5 head -c 7 <&3 | od -An -v -tu1)"
  ((${#frame[@]} == 7)) || return 1
  payload=$(timeout 5 head -c $(((frame[4] << 16) + (frame[5] << 8) + frame[6] + 1)) <&3 | od -An -v -tx1 | tr -d ' \n')
  [[ $payload == "$1"* ]]
}

# Opens and closes a connection as a client does. Nothing less tells that the broker serves: while it boots, its port
# already accepts connections, only to reset them.
handshake() (
  exec 3<>"/dev/tcp/127.0.0.1/$AMQP_PORT" || exit 1
  send 'AMQP\x00\x00\x09\x01' && expect 000a000a || exit 1 # → Start
  send '\x01\x00\x00\x00\x00\x00\x24\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US\xce'
  expect 000a001e || exit 1                                                             # Start-Ok → Tune
  send '\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x00\xce' # Tune-Ok
  send '\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x28\x01/\x00\x00\xce'                    # Open, virtual host /
  expect 000a0029 || exit 1                                                             # → Open-Ok
  send '\x01\x00\x00\x00\x00\x00\x0b\x00\x0a\x00\x32\x00\xc8\x00\x00\x00\x00\x00\xce'     # Close
  expect 000a0033                                                                       # → Close-Ok
) 2>/dev/null

wait_ready() {
  local deadline=$((SECONDS + 120))
  until handshake; do
    if ((SECONDS > deadline)) || ! running_process "$DIR/pid" >/dev/null; then
      tail -n 20 "$DIR/log/console.log" >&2
      stop_node TERM || true
      die "RabbitMQ did not start; its logs are in $DIR/log"
    fi
    sleep 0.1
  done
}

start() {
  create_settings
  load_settings
  if ! running_process "$DIR/pid" >/dev/null; then
    port_is_open "$AMQP_PORT" && die "port $AMQP_PORT of $DIR has been taken by another program"
    # A session of its own: Ctrl-C in the caller's terminal is for the caller, who then stops the node.
    (become setsid "$SBIN/rabbitmq-server") </dev/null >>"$DIR/log/console.log" 2>&1 &
    remember_process $! "$DIR/pid"
    trap 'stop_node TERM; exit 130' INT TERM HUP
  fi
  wait_ready
  [[ -z $JOIN ]] || join_cluster
  sed -n 's/^MANAGEMENT_URL=//p; s/^URL=//p' "$DIR/env"
}

join_cluster() {
  local other step
  other=$(setting NODE "$JOIN")
  [[ -f $DIR/joined ]] && return
  for step in stop_app reset "join_cluster $other" start_app; do
    # shellcheck disable=SC2086 # two words, where there are two
    (become "$SBIN/rabbitmqctl" --quiet $step) >&2
  done
  touch "$DIR/joined"
  wait_ready
}

end_epmd() { (become epmd -kill) >/dev/null 2>&1 || true; }

# stop_node SIGNAL. epmd outlives its nodes, so the last one that used it ends it; it refuses while others live.
stop_node() {
  local result=0
  stop_process "$DIR/pid" "$1" 60 || result=$?
  rm -f "$DIR/pid"
  end_epmd
  return "$result"
}

(($# >= 1)) || usage
COMMAND=$1 JOIN='' CERTS='' MANAGEMENT=''
if [[ $COMMAND != install ]]; then
  (($# >= 2)) || usage
  DIR=$(absolute "$2")
  shift 2
  if [[ -f $DIR/settings ]]; then OTHER_ROOT=$(setting OTHER_ROOT "$DIR"); fi # a node stays what it was made with
fi

case $COMMAND in
  install) install_rabbitmq ;;
  start | restart)
    if [[ ${1:-} == --join ]]; then JOIN=$(absolute "${2:?--join needs a directory}"); fi
    if [[ ${1:-} == --tls ]]; then CERTS=$(absolute "${2:?--tls needs a directory}"); fi
    if [[ ${1:-} == --root ]]; then OTHER_ROOT=${OTHER_ROOT:-$(absolute "${2:?--root needs a directory}")}; fi
    if [[ ${1:-} == --management ]]; then MANAGEMENT=yes; fi
    install_rabbitmq
    if [[ $COMMAND == restart ]]; then load_settings && { stop_node TERM || true; }; fi
    start
    ;;
  stop) load_settings && stop_node TERM ;;
  kill) load_settings && stop_node KILL ;;
  destroy)
    [[ ! -f $DIR/settings ]] || { load_settings && stop_node TERM; } || true
    rm -rf "$DIR"
    ;;
  ctl)
    install_rabbitmq
    load_settings
    result=0
    (become "$SBIN/rabbitmqctl" "$@") || result=$?
    # rabbitmqctl starts epmd where none runs.
    running_process "$DIR/pid" >/dev/null || end_epmd
    exit "$result"
    ;;
  *) usage ;;
esac
