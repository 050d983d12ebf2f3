# Sourced after cluster.sh by tests that need several servers: further clusters beside the first one, sessions that stay
# open, and checks that ask any of them.
#   others_guard                      once, after cluster_start: the further clusters end with the script, too
#   other_folders NAME                folders for a further cluster, whose data lies in $CLUSTER/NAME
#   other_start NAME                  starts it; its socket is in $CLUSTER/NAME.socket
#   ask HOST DATABASE SQL             what psql says, errors too
#   is NAME HOST DATABASE EXPECTED SQL, becomes NAME SECONDS HOST DATABASE EXPECTED SQL, same NAME EXPECTED GOT,
#   refused NAME HOST DATABASE SQLSTATE SQL
#   talk NAME HOST DATABASE, tell NAME SQL, hang_up NAME   a session that stays open; what it prints is in $CLUSTER/NAME.out
# shellcheck shell=bash

passed=0 failed=0
ok() { echo "ok       $1"; passed=$((passed + 1)); }
fail() { echo "FAILED   $1"; failed=$((failed + 1)); }
ask() { psql -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY="${verbosity:-default}" -h "$1" -d "$2" -c "$3" 2>&1 || true; }

# Asks until the answer is the expected one.
becomes() {
	local got end=$((SECONDS + $2))
	while :; do
		got=$(ask "$3" "$4" "$6")
		[ "$got" != "$5" ] || { ok "$1"; return; }
		[ $SECONDS -lt $end ] || break
		sleep 0.1
	done
	fail "$1"$'\n'"$(printf '  expected: %s\n  got:      %s\n' "$5" "$got" | cut -c 1-300)"
}
is() { becomes "$1" 0 "${@:2}"; }
same() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1"$'\n'"$(diff <(echo "$2") <(echo "$3") | cut -c 1-300 | head -n 20)"; fi; }
refused() { verbosity=sqlstate is "$1" "$2" "$3" "ERROR:  $4" "$5"; }

# Killed outright, a script leaves the further clusters to the guard of the first one: a postmaster whose folder is gone
# ends by itself.
others=()
others_guard() { trap others_stop EXIT; }
other_folders() {
	mkdir -m 700 "$CLUSTER/$1" "$CLUSTER/$1.socket"
	if [ "$(id -u)" = 0 ]; then chown "$(server_user)" "$CLUSTER/$1" "$CLUSTER/$1.socket"; fi
}
other_start() {
	printf '%s\n' "unix_socket_directories = '$CLUSTER/$1.socket'" >>"$CLUSTER/$1/postgresql.conf"
	others+=("$1")
	(cd "$CLUSTER" && as_server "$PG_CTL" -D "$CLUSTER/$1" -l "$CLUSTER/$1/log" -w -t 60 start) >/dev/null 2>&1 </dev/null ||
		{ cat "$CLUSTER/$1/log" >&2; die "the cluster $1 does not start"; }
}
# A fresh cluster, with further settings.
other_fresh() {
	other_folders "$1"
	(cd "$CLUSTER" && as_server "$CLUSTER/tree$PG_BIN/initdb" --no-sync -D "$CLUSTER/$1" -U postgres --auth=trust --encoding=UTF8 \
		--locale=C) >"$CLUSTER/initdb.log" 2>&1 || { cat "$CLUSTER/initdb.log" >&2; die "initdb failed"; }
	printf '%s\n' "listen_addresses = ''" "timezone = 'UTC'" "log_timezone = 'UTC'" "jit = off" "fsync = off" "full_page_writes = off" \
		"${@:2}" >>"$CLUSTER/$1/postgresql.conf"
	other_start "$1"
}
# A hot standby of the first one.
other_standby() {
	other_folders "$1"
	(cd "$CLUSTER" && as_server "$PG_BIN/pg_basebackup" -D "$CLUSTER/$1" -R -X stream --checkpoint=fast --no-sync) ||
		die "pg_basebackup failed"
	other_start "$1"
}
others_stop() {
	trap '' HUP INT TERM
	for name in "${others[@]}"; do
		(cd "$CLUSTER" && as_server "$PG_CTL" -D "$CLUSTER/$name" -m immediate -w stop) >/dev/null 2>&1 || true
	done
	cluster_stop
}

declare -A input=() last=()
said=0
# talk NAME HOST DATABASE [psql's options]
talk() {
	local fd
	mkfifo "$CLUSTER/$1.in"
	: >"$CLUSTER/$1.out"
	psql -XAtq -h "$2" -d "$3" "${@:4}" <"$CLUSTER/$1.in" >"$CLUSTER/$1.out" 2>&1 &
	exec {fd}>"$CLUSTER/$1.in"
	input[$1]=$fd
}
# Returns when the session has done it. What it said to it is in $told.
tell() {
	local end=$((SECONDS + 20))
	said=$((said + 1))
	printf '%s\n\\echo @@%s\n' "$2" $said >&"${input[$1]}"
	until grep -q "^@@$said\$" "$CLUSTER/$1.out"; do
		[ $SECONDS -lt $end ] || { cat "$CLUSTER/$1.out" >&2; die "session $1 hangs"; }
		sleep 0.02
	done
	# shellcheck disable=SC2034 # for who calls
	told=$(awk -v from="@@${last[$1]:-}" -v to="@@$said" 'from == "@@" { on = 1; from = "" } $0 == to { exit } on { print } $0 == from { on = 1 }' \
		"$CLUSTER/$1.out")
	last[$1]=$said
}
hang_up() {
	local fd=${input[$1]}
	exec {fd}>&-
	unset "input[$1]" "last[$1]"
	rm "$CLUSTER/$1.in"
}
