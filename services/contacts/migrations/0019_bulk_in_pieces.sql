-- What a job writes waits in pieces, each the records of one statement, a hundred of them at most, to be indexed for search and
-- to be compared: a row of two queues for each record cost an import a sixth of its time. Processes of the release before go
-- on queueing each record, which is taken for what somebody changed.
create table search_bulk (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  -- 1 accounts, 2 contacts.
  kind smallint not null,
  record_ids uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
select kit.tenant_table('search_bulk');

create table duplicate_bulk (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  -- 1 accounts, 2 contacts.
  kind smallint not null,
  record_ids uuid[] not null,
  -- Whether they have their keys and wait to be compared.
  keyed boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
create index duplicate_bulk_place on duplicate_bulk (keyed, id);
select kit.tenant_table('duplicate_bulk');

-- The queue holds what somebody changed, in one lane.
drop index search_queue_lane;

-- A hundred ids are stored in the row itself.
create function pieces(ids uuid[]) returns setof uuid[] language sql immutable as $$
  select ids[first:first + 99] from generate_series(1, cardinality(ids), 100) first
$$;

-- As before; what a transaction of a job of this release writes waits in pieces.
create or replace function queue_written_for_duplicates() returns trigger language plpgsql as $$
declare
  bulk text := coalesce(current_setting('rapport.bulk', true), '');
begin
  if bulk = 'pieces' then
    insert into duplicate_bulk (tenant_id, kind, record_ids)
      select w.tenant_id, tg_argv[0]::smallint, piece
      from (select tenant_id, array_agg(id) as ids from written group by tenant_id) w cross join lateral pieces(w.ids) piece;
  else
    insert into duplicate_queue (tenant_id, kind, record_id, bulk) select w.tenant_id, tg_argv[0]::smallint, w.id, bulk = 'on' from written w;
  end if;
  return null;
end $$;

create or replace function keep_keys(of_tenant uuid, of_collection text, of_record uuid, is_live boolean,
    point_kinds smallint[], points text[], systems text[], ids text[], labels text[]) returns void language plpgsql as $$
declare
  bulk text := coalesce(current_setting('rapport.bulk', true), '');
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
  if bulk = 'pieces' then
    insert into search_bulk (tenant_id, kind, record_ids)
      values (of_tenant, case of_collection when 'accounts' then 1 else 2 end, array[of_record]);
  else
    insert into search_queue (tenant_id, collection, record_id, bulk) values (of_tenant, of_collection, of_record, bulk = 'on');
  end if;
end $$;
