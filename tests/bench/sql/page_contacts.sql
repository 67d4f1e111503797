-- Fifty contacts behind a place in the order of names, whoever owns them: what a page costs the database at least.
\set k random(0, :rows - 1)
select c.id, c.version, c.owner_kind, c.owner_id, c.person, c.account_roles, c.external_ids, c.tags, c.created_at, c.updated_at, c.deleted_at
from contacts c
where c.tenant_id = :tenant::uuid and c.deleted_at is null
  and (c.family_folded collate "C", c.id) > ('n' || lpad(:k::text, 10, '0'), '00000000-0000-0000-0000-000000000000'::uuid)
order by c.family_folded collate "C" asc, c.id asc limit 50;
