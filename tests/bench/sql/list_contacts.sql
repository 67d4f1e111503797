-- Mirrors contacts, ListContacts: a page of 50 and the row that tells of a next one, scope as in get_contact.sql.
\set k random(0, :rows - 1)
select c.id, c.version, c.owner_kind, c.owner_id, c.person, c.account_roles, c.external_ids, c.tags, c.created_at, c.updated_at, c.deleted_at,
  c.family_folded as sort_key_1
from contacts c
where c.tenant_id = :tenant::uuid and c.deleted_at is null
  and (c.owner_id = :subject::uuid
    or exists (select from kit.policy_subject holder join kit.unit_ancestor above
      on above.tenant_id = holder.tenant_id and above.unit_id = holder.unit_id
      where holder.tenant_id = c.tenant_id and holder.id = c.owner_id and above.ancestor_id = :unit::uuid)
    or exists (select from kit.share given where given.tenant_id = c.tenant_id and given.record_id = c.id
      and (given.subject_id = :subject::uuid or given.subject_id = any(:groups::uuid[]))))
  and (c.family_folded collate "C", c.id) > ('n' || lpad(:k::text, 10, '0'), '00000000-0000-0000-0000-000000000000'::uuid)
order by c.family_folded collate "C" asc, c.id asc limit 51;
