-- Search: for each account and contact the keys that it is found by.
--
-- A write of a record leaves a row in search_queue; a task of the service takes it out and writes the record's row
-- of search_doc, well within a second. Keys are hashes of tenant, field and folded parts of words (search/keys.rs):
-- one array condition finds any of them by one index, for one tenant alone.

create table search_doc (
  tenant_id uuid not null,
  record_id uuid not null,
  -- 1 an account, 2 a contact.
  kind smallint not null,
  -- Of the record that the keys were made from. Later ones replace them, earlier ones never do.
  version bigint not null,
  owner_id uuid not null,
  updated_at timestamptz not null,
  -- In order; none of a record in the bin.
  keys bigint[] not null,
  primary key (tenant_id, record_id)
);
-- Without the list of pending entries, which every search would have to read through.
create index search_doc_keys on search_doc using gin (keys) with (fastupdate = off);
select kit.tenant_table('search_doc');
revoke insert, update, delete on search_doc from rapport_app;

-- Under row-level security an array condition takes no index, because it is not leakproof. The application searches
-- through this view, which reads as its owner and takes the tenant from the connection. It holds no word of a record:
-- what is found is read under the policy of the record's own table.
create policy owner on search_doc for select to current_user using (true);
create view own_search_doc as
  select tenant_id, record_id, kind, owner_id, updated_at, keys from search_doc
  where tenant_id = nullif(current_setting('rapport.tenant', true), '')::uuid;
grant select on own_search_doc to rapport_app;

-- Records that were written and wait for their keys. Short-lived rows, so vacuumed eagerly.
create table search_queue (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  collection text not null,
  record_id uuid not null
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000);

-- Records from before wait too. The owner sees rows of no tenant while the policy holds for it.
alter table accounts no force row level security;
alter table contacts no force row level security;
insert into search_queue (tenant_id, collection, record_id)
  select tenant_id, 'accounts', id from accounts union all select tenant_id, 'contacts', id from contacts;
alter table accounts force row level security;
alter table contacts force row level security;
select kit.tenant_table('search_queue');

-- As before, and the record waits for its keys: every write of a record goes through here, that of an older release too.
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
  insert into search_queue (tenant_id, collection, record_id) values (of_tenant, of_collection, of_record);
end $$;
