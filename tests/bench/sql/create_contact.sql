-- Mirrors contacts, contact::sql::insert: the row, its journal entry, its event and its look-up rows in one statement.
-- Ids begin with the time, as the service's do, so that they go to the right edge of every index.
\set a random(1, 9000000000000000)
with n as materialized (
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(md5(:a::text), 1, 19))::uuid as id
), w as (
  insert into contacts (tenant_id, id, version, owner_kind, owner_id, person, family_folded, given_folded, language,
    account_roles, external_ids, tags, created_at, updated_at)
  select :tenant::uuid, n.id, 1, 1, :subject::uuid, :person::jsonb, 'load' || :a::text, 'bench', 'en', '[]', '[]', '{}', now(), now() from n
  returning tenant_id, id
)
select kit.record(row(w.tenant_id, 'contacts', w.id, 1, 0, 'contacts.contact.created.v1', 'rapport.contacts.v1.ContactCreated', :message::bytea,
    'users/' || :subject::text, null, 'a request of pgbench', null, null, array[w.id], false, null, null)::kit.entry),
  keep_keys(w.tenant_id, 'contacts', w.id, true, array[1]::smallint[], array['load' || :a::text || '@bench.example'], '{}', '{}', '{}'),
  keep_contact_accounts(w.tenant_id, w.id, '{}', '{}')
from w;
