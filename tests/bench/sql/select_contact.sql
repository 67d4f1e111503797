-- One contact by its key and nothing else: what a read costs the database at least.
\set k random(1, :rows)
select c.id, c.version, c.owner_kind, c.owner_id, c.person, c.account_roles, c.external_ids, c.tags, c.created_at, c.updated_at, c.deleted_at
from contacts c
where c.tenant_id = :tenant::uuid and c.id = ('0190a000-0000-7000-8000-' || lpad(to_hex(:k::bigint), 12, '0'))::uuid;
