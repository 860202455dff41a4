#!/bin/bash
# Three nodes on this machine, a scan submitted to a follower, the leader killed in the middle of it: `make demo`.
#
# Nothing is staged: what is printed is what the commands of this run say, and the seconds are measured here. Everything
# is on 127.0.0.0/8 and in one temporary folder; it is gone when this ends, however it ends.
set -euo pipefail

target=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}
bin=${PENTORA_BIN_DIR:-$target/dist} farm=$target/release/lab-farm
dir=$(mktemp -d "${TMPDIR:-/tmp}/pentora-demo.XXXXXX")
declare -A pid
cleanup() {
  trap - EXIT INT TERM
  for name in "${!pid[@]}"; do kill -KILL "${pid[$name]}" 2>/dev/null || true; done
  for name in "${!pid[@]}"; do while kill -0 "${pid[$name]}" 2>/dev/null; do sleep 0.05; done; done
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the user's own configuration or cluster takes part.
for variable in $(compgen -e | grep -E '^PENTORA_|^WORKER_TOKEN$|^COORDINATOR_URL$' || true); do unset "$variable"; done
export HOME=$dir PENTORA_TOKEN_FILE=$dir/n1/admin.token

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n%s\n' "$*"; }
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$2" 'BEGIN { printf "%.2f", to - from }'; }
fail() {
  echo "demo: $*" >&2
  for log in "$dir"/n?.log; do
    [ -e "$log" ] && { echo "-- the end of $(basename "$log"):"; tail -n 15 "$log"; } >&2
  done
  exit 1
}
# Runs pentora against node $1.
on() {
  local node=$1
  shift
  PENTORA_API=http://127.0.0.1:${api[$node]} "$bin/pentora" "$@"
}
# Asks for something every 0.2 s until it is so, or $1 seconds are over.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "$what: not within $seconds s"
    sleep 0.2
  done
}
# The same, with the command as a user would type it there.
shown() {
  printf '$ pentora %s\n' "${*:2}"
  on "$@"
}
start_node() { # start_node NAME VERB OPTION...
  local name=$1
  shift
  echo "\$ pentora-node $*" | sed "s|$dir/||g"
  (cd "$dir" && exec "$bin/pentora-node" "$@") >>"$dir/$name.log" 2>&1 &
  pid[$name]=$!
  disown
}
listen() { echo --name "$1" --data-dir "$dir/$1" --mesh-listen "127.0.0.1:${mesh[$1]}" --api-listen "127.0.0.1:${api[$1]}"; }
status_of() { on "$1" cluster status --json 2>/dev/null || true; }
leader_seen_by() { status_of "$1" | grep -oE '"leader": *"[^"]*"' | grep -oE 'n[0-9]' || true; }
has_leader() { [ -n "$(leader_seen_by "$1")" ]; }
is_active() { on "$follower" cluster status 2>/dev/null | grep -qE "[|│] $1 .*Active"; }
has_voters() { [ "$(status_of n1 | grep -oE '"role": *"voter"' | wc -l)" -ge "$1" ]; }
writes() { on "$1" coordinator worker-token create --name demo --ttl 1m >/dev/null 2>&1; }
job_field() { on "$follower" job status "$job" --json 2>/dev/null | grep -oE "\"$1\": *\"?[a-z0-9]+" | head -n1 | grep -oE '[a-z0-9]+$' || true; }
in_its_middle() { local scanned; scanned=$(job_field targets_scanned); [ "${scanned:-0}" -gt 0 ]; }
ended() { case $(job_field status) in completed | partial | failed | cancelled) ;; *) false ;; esac; }

for program in "$bin/pentora" "$bin/pentora-node" "$farm"; do
  [ -x "$program" ] || fail "$program is not built: run make demo"
done
mapfile -t free < <("$farm" free 6)
declare -A mesh=([n1]=${free[0]} [n2]=${free[1]} [n3]=${free[2]}) api=([n1]=${free[3]} [n2]=${free[4]} [n3]=${free[5]})

say "1. Something to find: a few small servers on 127.0.1.0/24"
for last in 10 20 30 40 50 60 70 80; do binds+=(--bind "127.0.1.$last"); done
"$farm" serve "${binds[@]}" --ports 18022,18080 --banner "18022=SSH-2.0-demo" >"$dir/farm.log" 2>&1 &
pid[farm]=$!
disown
wait_for 5 "the servers" grep -q listening "$dir/farm.log"
echo "8 hosts with 2 open ports each: 16 to find"

say "2. Three nodes: one starts a cluster, two join it by token"
# shellcheck disable=SC2046
start_node n1 start --init $(listen n1)
wait_for 20 "the first node" has_leader n1
for name in n2 n3; do
  echo "$ pentora coordinator worker-token create --name $name >$name.token"
  on n1 coordinator worker-token create --name "$name" >"$dir/$name.token" 2>"$dir/token.log" || fail "$(cat "$dir/token.log")"
  # shellcheck disable=SC2046
  start_node "$name" join --peer "127.0.0.1:${mesh[n1]}" --token-file "$dir/$name.token" $(listen "$name")
done
wait_for 40 "three voters" has_voters 3
shown n1 cluster status

leader=$(leader_seen_by n1)
for name in n1 n2 n3; do [ "$name" = "$leader" ] || follower=$name; done

say "3. A scan of 256 addresses, submitted to $follower (the leader is $leader)"
scan=(scan 127.0.1.0/24 --ports 18020-18025,18080,18081 --no-discovery --rate 140 --detach)
echo "$ pentora ${scan[*]}"
job=$(on "$follower" "${scan[@]}")
echo "$job"
echo "(2,048 probes, at no more than 140 a second over all nodes together)"
wait_for 30 "the scan's middle" in_its_middle
shown "$follower" job status "$job"

say "4. kill -9 ${pid[$leader]}: the leader, $leader"
killed=$(now)
kill -KILL "${pid[$leader]}"
unset "pid[$leader]"
until writes "$follower"; do
  [ "$(since "$killed" "$(now)" | cut -d. -f1)" -lt 60 ] || fail "no write went through in 60 s"
done
written=$(now)
echo "$(since "$killed" "$written") s later a write commits through $follower; $(leader_seen_by "$follower") leads"

say "5. The scan goes on without it"
wait_for 120 "the end of the scan" ended
finished=$(now)
shown "$follower" job status "$job"

say "6. What happened, by the job's own record"
shown "$follower" job events "$job"

say "7. The report, folded on $follower from the chunks of all nodes"
shown "$follower" job results "$job" -o list

say "8. $leader again, by its data directory alone"
start_node "$leader" start --data-dir "$dir/$leader"
wait_for 20 "the old leader" is_active "$leader"
shown "$follower" cluster status

# Seconds from the kill to the first event of kind $1 behind it in the job's record.
first_after() {
  on "$follower" job events "$job" --json | grep -oE '"(at|kind)": *"[^"]*"' | paste -d' ' - - |
    sed -nE "s/.*\"at\": *\"([^\"]*)\".*\"kind\": *\"$1\".*/\1/p" |
    while read -r at; do
      if awk -v at="$(date -d "$at" +%s.%N)" -v kill="$killed" 'BEGIN { exit !(at > kill) }'; then
        since "$killed" "$(date -d "$at" +%s.%N)"
        break
      fi
    done
}
found=$(on "$follower" job results "$job" -o list | sort -u | wc -l)
say "Measured in this run"
echo "from the kill to the first write that commits through another node: $(since "$killed" "$written") s"
seconds=$(first_after unit_done)
[ -z "$seconds" ] || echo "from the kill to the first unit that the new leader counted: $seconds s"
seconds=$(first_after reassigned)
[ -z "$seconds" ] || echo "from the kill to the first of the dead node's units in other hands: $seconds s"
echo "from the kill to the end of the scan: $(since "$killed" "$finished") s"
echo "open ports found: $found of 16"
[ "$(job_field status)" = completed ] && [ "$found" = 16 ] || fail "the result is not the truth"
