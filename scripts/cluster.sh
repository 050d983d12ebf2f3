# Sourced after env.sh: a throw-away PostgreSQL with the freshly built extension, below one folder in /tmp.
#   cluster_start [setting=value ...]   starts it and points PGHOST, PGUSER and PATH at it; it ends with the script
#   cluster_template                    makes the database $CREDIT_POOLS_TEMPLATE, to create others from
# PostgreSQL 15 looks for extensions only in its own folders, which it finds relative to its executable. So the
# executable is copied into a private tree and the rest linked beside it: nothing of the system's server changes,
# nobody needs root, and a checkout that the server's user cannot enter does no harm.
# shellcheck shell=bash

# PostgreSQL refuses to run as root.
as_server() {
	if [ "$(id -u)" = 0 ]; then runuser -u "$(server_user)" -- "$@"; else "$@"; fi
}
server_user() { if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi; }

# The server's own folders as a tree of links below $1, with this checkout's build of the extension in it.
cluster_tree() {
	local tree=$1 share lib
	share=$("$PG_CONFIG" --sharedir) lib=$("$PG_CONFIG" --pkglibdir)
	mkdir -p "$tree$PG_BIN" "$tree$share" "$tree$lib"
	cp "$PG_BIN"/{postgres,initdb,pg_ctl} "$tree$PG_BIN/"
	cp -rs "$share/." "$tree$share/"
	ln -s "$lib"/*.so "$tree$lib/"
	# A copy that is installed on this machine is not the one to test (nor one to write through).
	rm -f "$tree$share"/extension/credit_pools* "$tree$lib"/credit_pools*
	cp -r "$ROOT/target/pkg/pg$PG_MAJOR/." "$tree/"
	chmod -R a+rX "$tree"
}

cluster_start() {
	local name
	find_postgres || die "no PostgreSQL here; run scripts/setup"
	# What the caller's environment says about another server must not reach this one.
	for name in "${!PG@}"; do case $name in PG*_*) ;; *) unset "$name" ;; esac; done
	trap cluster_stop EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	CLUSTER=$(mktemp -d /tmp/credit_pools.XXXXXX) # short: a socket's path has 107 bytes at most
	PG_CTL=$CLUSTER/tree$PG_BIN/pg_ctl
	cluster_tree "$CLUSTER/tree"
	mkdir -m 700 "$CLUSTER/data" "$CLUSTER/socket"
	if [ "$(id -u)" = 0 ]; then
		chown "$(server_user)" "$CLUSTER/data" "$CLUSTER/socket"
		chmod 711 "$CLUSTER"
	fi

	cd "$CLUSTER" # the server's user may not be allowed into the checkout
	as_server "$CLUSTER/tree$PG_BIN/initdb" --no-sync -D data -U postgres --auth=trust --encoding=UTF8 --locale=C \
		>initdb.log 2>&1 || { cat initdb.log >&2; die "initdb failed"; }
	{
		# No port, and a socket that only its owner and root can reach: with trust, the way in is the guard.
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$CLUSTER/socket'"
		echo "timezone = 'UTC'"
		echo "log_timezone = 'UTC'"
		echo "jit = off"
		echo "fsync = off"
		echo "full_page_writes = off"
		printf '%s\n' "$@"
	} >>data/postgresql.conf
	# If this script is killed outright, the server and its files go, too.
	(
		trap '' HUP INT TERM
		tail --pid=$$ -f /dev/null &
		echo $! >"$CLUSTER/watch"
		wait
		cluster_remove
	) >/dev/null 2>&1 </dev/null &
	CLUSTER_WATCH=$!
	disown
	as_server "$PG_CTL" -D "$CLUSTER/data" -l "$CLUSTER/data/log" -w -t 60 start >/dev/null 2>&1 </dev/null ||
		{ cat data/log >&2; die "the throw-away server does not start"; }
	cd "$ROOT"

	export PGHOST=$CLUSTER/socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PGTZ=UTC PGCLIENTENCODING=UTF8 LC_ALL=C.UTF-8 PSQLRC=/dev/null PSQL_HISTORY=/dev/null PAGER=
	export PATH=$PG_BIN:$PATH # the real psql, not Debian's chooser of clusters
}

cluster_template() {
	export CREDIT_POOLS_TEMPLATE=credit_pools_template
	psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE $CREDIT_POOLS_TEMPLATE"
	psql -Xq -v ON_ERROR_STOP=1 -d $CREDIT_POOLS_TEMPLATE -c 'CREATE EXTENSION credit_pools'
}

# A fresh database with the extension, from the template.
cluster_database() { psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE \"$1\" TEMPLATE $CREDIT_POOLS_TEMPLATE"; }

cluster_remove() {
	if [ -f "$CLUSTER/data/postmaster.pid" ]; then
		(cd "$CLUSTER" && as_server "$PG_CTL" -D "$CLUSTER/data" -m immediate -w stop) >/dev/null 2>&1 || true
	fi
	rm -rf -- "$CLUSTER"
}

cluster_stop() {
	trap '' HUP INT TERM
	[ -n "${CLUSTER:-}" ] || return 0
	cd /
	if [ -n "${CLUSTER_WATCH:-}" ]; then
		kill -KILL "$CLUSTER_WATCH" "$(cat "$CLUSTER/watch")" 2>/dev/null || true
	fi
	cluster_remove
}
