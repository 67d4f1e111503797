-- Six digits inside a name or an address, found by trigrams in a table of nothing else, without access and ranking:
-- what a search for a part of a word costs the database at least.
\set k random(0, :rows - 1)
select n.id, n.given_name, n.family_name, n.email from bench.names n
where n.tenant_id = :tenant::uuid and n.text ilike '%' || lpad((:k::bigint % 100000)::text, 6, '0') || '%' limit 20;
