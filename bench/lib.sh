# Sourced by the scripts here, after env.sh and cluster.sh: databases, contestants, figures.
# shellcheck shell=bash disable=SC2034

rounds=${ROUNDS:-5} duration=${DURATION:-3} clients=${CLIENTS:-8} sync=${SYNC:-off on}
threads=$(($(nproc) < clients ? $(nproc) : clients))
first=1000000001 # the id of the first customer

ask() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1" ${2:+-d "$2"}; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
quietly() { "$@" >"$CLUSTER/quiet.log" 2>&1 || { cat "$CLUSTER/quiet.log" >&2; die "failed: $*"; }; }

# set_server SETTING VALUE: takes effect before it returns.
set_server() {
	local n
	ask "ALTER SYSTEM SET $1 = '$2'"
	ask 'SELECT pg_reload_conf()' >/dev/null
	for ((n = 0; n < 100; n++)); do
		[ "$(ask "SHOW $1")" != "$2" ] || return 0
		sleep 0.1
	done
	die "$1 does not become $2"
}

# bench_cluster SHARED_BUFFERS [setting=value ...]. Durable for real, unlike in the tests. No checkpoint comes within a run:
# that the first change of a page after one logs the page as a whole is of the checkpoints, not of the contestants.
bench_cluster() {
	"$ROOT/scripts/build"
	cluster_start fsync=on full_page_writes=on "shared_buffers=$1" max_wal_size=64GB checkpoint_timeout=1d maintenance_work_mem=1GB "${@:2}"
	quietly createdb base
	quietly psql -Xq -d base -f bench/setup.sql
	quietly psql -Xq -d base -f bench/hand.sql
	quietly psql -Xq -d base -f bench/hand_test.sql
}

# database NAME SQL: a database of this name, made from the base, in which SQL was executed. Loading is not durable; the
# database is, once it is there. It starts with a clean cache and, since its pages were changed after the checkpoint, it
# begins as after a long time without any.
database() {
	say "loading the database $1"
	quietly createdb -T base "$1"
	PGOPTIONS='-c synchronous_commit=off' quietly psql -Xq -v ON_ERROR_STOP=1 -d "$1" -c "$2"
	quietly psql -Xq -d "$1" -c 'VACUUM (ANALYZE)'
}

# script LOAD CALL: the pgbench script that makes CALL with pools drawn by LOAD.
script() {
	local file=$CLUSTER/$1.$2.sql
	[ -f "$file" ] || cat "bench/loads/$1.sql" bench/loads/ids.sql "bench/calls/$2.sql" >"$file"
	echo "$file"
}

# Transactions, tps and latency from the output of pgbench.
pgbench_figures() {
	sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p; s/^latency average = \([0-9.]*\).*/\1/p
		s/^tps = \([0-9.]*\).*/\1/p' "$1" | paste -sd ' ' | awk 'NF == 3 { print $1, $3, $2 }'
}

# calls LOAD CALL DATABASE POOLS CLIENTS [pgbench option ...]: prints calls, calls a second and the latency in ms.
calls() {
	local load=$1 call=$2 db=$3 pools=$4 clients=$5 log=$CLUSTER/pgbench.log
	shift 5
	pgbench -n -M prepared -f "$(script "$load" "$call")" -D "pools=$pools" -D "first=$first" -c "$clients" \
		-j "$((threads < clients ? threads : clients))" "$@" "$db" >"$log" 2>&1 || { cat "$log" >&2; die "pgbench failed on $call ($load, $db)"; }
	pgbench_figures "$log"
}

machine() {
	version=$(ask 'SHOW server_version')
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)
	commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
	echo "PostgreSQL $version; $(nproc) x ${cpu:-unknown CPU}, $memory; client and server on the same machine; commit $commit"
}
