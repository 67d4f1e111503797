-- Records of imports wait for their keys in a lane of their own, keys are made again twice, and no contact comes back from the
-- bin to an account that was merged.

-- While a release is rolled out, processes of the one before make keys as they know them; a second round an hour later
-- finds those.
alter table search_again
  add column rounds smallint not null default 1,
  add column not_before timestamptz not null default now();
alter table search_again no force row level security;
update search_again set rounds = 2;
alter table search_again force row level security;

-- As before; in a transaction of an import the record waits behind what people changed.
create or replace function keep_keys(of_tenant uuid, of_collection text, of_record uuid, is_live boolean,
    point_kinds smallint[], points text[], systems text[], ids text[], labels text[]) returns void language plpgsql as $$
begin
  delete from contact_point_keys k where k.tenant_id = of_tenant and k.record_id = of_record
    and not exists (select from unnest(point_kinds, points) p(kind, point) where p.kind = k.kind and p.point = k.normalized);
  insert into contact_point_keys (tenant_id, record_id, kind, normalized)
    select of_tenant, of_record, p.kind, p.point from unnest(point_kinds, points) p(kind, point) on conflict do nothing;
  delete from external_ids e where e.tenant_id = of_tenant and e.record_id = of_record
    and not exists (select from unnest(systems, ids) x(system, id)
      where x.system = e.system and x.id = e.external_id and e.live = is_live);
  -- Only the record's own rows may stand already; a pair on another live record violates external_id_taken.
  insert into external_ids (tenant_id, collection, system, external_id, record_id, live)
    select of_tenant, of_collection, x.system, x.id, of_record, is_live from unnest(systems, ids) x(system, id)
    on conflict (tenant_id, record_id, system) do nothing;
  delete from record_tags t where t.tenant_id = of_tenant and t.record_id = of_record and not t.tag = any(labels);
  insert into record_tags (tenant_id, record_id, tag)
    select of_tenant, of_record, label from unnest(labels) label on conflict do nothing;
  insert into search_queue (tenant_id, collection, record_id, bulk)
    values (of_tenant, of_collection, of_record, coalesce(current_setting('rapport.bulk', true), '') = 'on');
end $$;

-- A contact in the bin keeps the rows of its accounts, which nobody moves when one of them is merged; coming back, it holds
-- its accounts as one that is linked does.
create function refuse_merged_accounts_of_contact() returns trigger language plpgsql as $$
declare
  linked uuid[] := array(select account_id from contact_accounts where tenant_id = new.tenant_id and contact_id = new.id);
begin
  perform from accounts a where a.tenant_id = new.tenant_id and a.id = any(linked) order by a.id for key share;
  if exists (select from accounts a where a.tenant_id = new.tenant_id and a.id = any(linked) and a.merged_into is not null) then
    raise exception 'an account of the contact was merged' using errcode = 'check_violation', constraint = 'contact_account_merged';
  end if;
  return null;
end $$;
create trigger contact_account_merged after update on contacts for each row
  when (old.deleted_at is not null and new.deleted_at is null) execute function refuse_merged_accounts_of_contact();
