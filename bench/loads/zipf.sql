\set rank random_zipfian(1, :pools, 1.07)
\set n 1 + permute(:rank - 1, :pools, 42)
