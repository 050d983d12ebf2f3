# Sourced by every script: where things are, and how to say things. Changes nothing on the machine.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
# .tools: a private cargo-pgrx, where the user's own is of another version. sbin: runuser.
PATH=$ROOT/.tools/bin:$PATH:${HOME:-/root}/.cargo/bin:/usr/sbin:/sbin

# Where the tests find the modules of Node that scripts/setup installs: by npm, or Debian's.
export NODE_PATH=$ROOT/target/node/node_modules:/usr/share/nodejs

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
now_ms() { local us=${EPOCHREALTIME/[.,]/}; echo $((us / 1000)); }

# A PostgreSQL that we can build for and run: a server of a supported major, with its headers.
usable_postgres() {
	local major
	major=$("$1" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p') || return 1
	case $major in 15 | 16 | 17 | 18) ;; *) return 1 ;; esac
	[ -x "$("$1" --bindir)/postgres" ] && [ -f "$("$1" --includedir-server 2>/dev/null)/postgres.h" ]
}

# Sets PG_CONFIG, PG_MAJOR, PG_BIN, PG_TESTS (where PGXS keeps pg_regress). Fails when there is no such PostgreSQL.
find_postgres() {
	local asked=${PG_CONFIG:-pg_config}
	if ! usable_postgres "$asked"; then
		[ "$asked" = pg_config ] || die "PG_CONFIG=$asked: need PostgreSQL 15, 16, 17 or 18 with its server and its headers"
		# Debian's pg_config may be that of libpq alone, or of another major.
		asked=/usr/lib/postgresql/15/bin/pg_config
		usable_postgres "$asked" || return 1
	fi
	PG_CONFIG=$(command -v "$asked")
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	PG_BIN=$("$PG_CONFIG" --bindir)
	PG_TESTS=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
	export PG_CONFIG
}

# pgrx takes its headers from ~/.pgrx/config.toml. Where that names another server of the same major than
# PG_CONFIG does, point pgrx at PG_CONFIG; else leave the environment alone, since cargo rebuilds when it changes.
use_pgrx_postgres() {
	local entry
	entry=$(pgrx_config_entry)
	if [ -z "$entry" ] || [ "$("$entry" --bindir 2>/dev/null)" != "$PG_BIN" ]; then
		export PGRX_PG_CONFIG_PATH=$PG_CONFIG
	fi
}

pgrx_config_entry() {
	sed -n "s/^pg$PG_MAJOR *= *\"\(.*\)\"/\1/p" "${PGRX_HOME:-${HOME:-/root}/.pgrx}/config.toml" 2>/dev/null || true
}
