# Sourced by tests/upgrade/run and tests/upgrade/keep: what a released version consists of.
#   credit_pools--X.sql        its install script, as it was built
#   credit_pools--X.data.sql   a database that was filled with it, as a dump that restores into that version
#   SHA256SUMS                 of all of these
# shellcheck shell=bash

fill_database() {
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" -f "$ROOT/tests/dump_restore/fill.sql" >"$CLUSTER/fill.log" 2>&1 ||
		{ tail -n 20 "$CLUSTER/fill.log" >&2; die "filling the database failed"; }
}

# keep_version FOLDER VERSION SCRIPT DATABASE: keeps a version in FOLDER: SCRIPT, and what is in DATABASE.
keep_version() {
	local data=$1/credit_pools--$2.data.sql
	mkdir -p "$1"
	if [ -e "$1/credit_pools--$2.sql" ]; then die "version $2 is kept already: a released version never changes"; fi
	cp "$3" "$1/credit_pools--$2.sql"
	{
		echo "-- Filled by credit_pools $2 (tests/dump_restore/fill.sql)."
		# A dump has no roles.
		psql -XAtq -v ON_ERROR_STOP=1 -d "$4" -c "SELECT format('SELECT ''CREATE ROLE %I'' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %L) \\gexec', rolname, rolname)
			FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' AND NOT rolsuper ORDER BY rolname"
		# The version that it is of, not the one that is current when it is restored.
		pg_dump -d "$4" | sed "s/^\(CREATE EXTENSION IF NOT EXISTS credit_pools WITH SCHEMA credit_pools\);\$/\1 VERSION '$2';/"
	} >"$data"
	grep -q "^CREATE EXTENSION .* VERSION '$2';\$" "$data" || die "the dump does not make the extension as expected"
	(cd "$1" && sha256sum -- *.sql >SHA256SUMS)
}

# kept_versions FOLDER: their names, oldest first.
kept_versions() {
	[ -d "$1" ] || return 0
	find "$1" -name 'credit_pools--*.sql' ! -name '*.data.sql' | sed 's/.*credit_pools--\(.*\)\.sql$/\1/' | sort -V
}

# changed_files FOLDER: what is not as it was kept, a line each.
changed_files() {
	[ -d "$1" ] || return 0
	(
		cd "$1" || exit 1
		shopt -s nullglob
		files=(*)
		[ ${#files[@]} -gt 0 ] || exit 0
		[ -f SHA256SUMS ] || { echo "SHA256SUMS is missing"; exit 0; }
		sha256sum --check --strict --quiet SHA256SUMS 2>&1 | grep -v '^sha256sum: WARNING' || true
		for file in "${files[@]}"; do
			[ "$file" = SHA256SUMS ] || grep -q "  $file\$" SHA256SUMS || echo "$file is not in SHA256SUMS"
		done
		for version in $(kept_versions .); do
			[ -e "credit_pools--$version.data.sql" ] || echo "credit_pools--$version.data.sql is missing"
		done
	)
}
