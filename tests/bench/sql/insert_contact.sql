-- A contact's row and nothing else: what a durable write costs the database at least.
\set a random(1, 9000000000000000)
insert into contacts (tenant_id, id, version, owner_kind, owner_id, person, family_folded, given_folded, language,
  account_roles, external_ids, tags, created_at, updated_at)
values (:tenant::uuid,
  (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(md5(:a::text), 1, 19))::uuid,
  1, 1, :subject::uuid, :person::jsonb, 'load' || :a::text, 'bench', 'en', '[]', '[]', '{}', now(), now());
