# PostgreSQL 15 with credit_pools: docker build -t credit_pools . && docker run -e POSTGRES_PASSWORD=... credit_pools
# What it runs are the scripts that one runs by hand, and the package that `make deb` makes.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
ENV DEBFULLNAME="the credit_pools authors" DEBEMAIL=root@localhost
RUN scripts/setup deb
RUN scripts/build
RUN scripts/deb

FROM postgres:15-bookworm
COPY --from=build /build/target/deb/postgresql-15-credit-pools_*.deb /tmp/
RUN apt-get update && \
	apt-get install -y --no-install-recommends /tmp/postgresql-15-credit-pools_*.deb && \
	rm -rf /tmp/postgresql-15-credit-pools_*.deb /var/lib/apt/lists/*
# In the first database of a new volume.
RUN mkdir -p /docker-entrypoint-initdb.d && \
	echo 'CREATE EXTENSION credit_pools;' >/docker-entrypoint-initdb.d/10-credit_pools.sql
