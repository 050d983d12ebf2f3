\set n 1
