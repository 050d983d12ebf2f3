\set n random(1, :pools)
