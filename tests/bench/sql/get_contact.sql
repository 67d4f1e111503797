-- Mirrors contacts, contact::sql::get with the scope of a caller at the level of unit and below.
\set k random(1, :rows)
select c.id, c.version, c.owner_kind, c.owner_id, c.person, c.account_roles, c.external_ids, c.tags, c.created_at, c.updated_at, c.deleted_at
from contacts c
where c.tenant_id = :tenant::uuid and c.id = ('0190a000-0000-7000-8000-' || lpad(to_hex(:k::bigint), 12, '0'))::uuid
  and (c.owner_id = :subject::uuid
    or exists (select from kit.policy_subject holder join kit.unit_ancestor above
      on above.tenant_id = holder.tenant_id and above.unit_id = holder.unit_id
      where holder.tenant_id = c.tenant_id and holder.id = c.owner_id and above.ancestor_id = :unit::uuid)
    or exists (select from kit.share given where given.tenant_id = c.tenant_id and given.record_id = c.id
      and (given.subject_id = :subject::uuid or given.subject_id = any(:groups::uuid[]))));
