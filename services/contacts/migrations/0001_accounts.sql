-- Accounts, what both resources share (look-up tables), and the copy of identity's legal entities.
--
-- A record is read from its own row alone. Look-up tables repeat parts of it for filters and look-ups; they
-- are written by keep_keys in the statement that writes the row. Operators on them are leakproof, so that
-- their indexes serve under row-level security.

create table accounts (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  owner_kind smallint not null,
  owner_id uuid not null,
  kind smallint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  number text collate "C" not null,
  relationships smallint[] not null,
  legal_entity_id uuid,
  parent_id uuid,
  sector text collate "C" not null,
  -- Website, size, turnover, founding, contact points and addresses: read with the record only.
  profile jsonb not null,
  external_ids jsonb not null,
  tags text[] not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleted_at timestamptz,
  primary key (tenant_id, id)
);
create index account_name on accounts (tenant_id, name_folded, id) where deleted_at is null;
create index account_owner_name on accounts (tenant_id, owner_id, name_folded, id) where deleted_at is null;
create index account_by_sector on accounts (tenant_id, sector, name_folded, id) where deleted_at is null;
create index account_by_number on accounts (tenant_id, number, id) where deleted_at is null;
create index account_created on accounts (tenant_id, created_at, id) where deleted_at is null;
create index account_updated on accounts (tenant_id, updated_at, id) where deleted_at is null;
create index account_parent on accounts (tenant_id, parent_id) where parent_id is not null;
select kit.tenant_table('accounts');

-- Normalised contact points of accounts and contacts, folded as filters fold what they compare with.
create table contact_point_keys (
  tenant_id uuid not null,
  record_id uuid not null,
  kind smallint not null,
  normalized text collate "C" not null,
  primary key (tenant_id, record_id, kind, normalized)
);
create index contact_point_record on contact_point_keys (tenant_id, normalized, record_id);
select kit.tenant_table('contact_point_keys');

-- What other systems call a record. A pair stands on one live record of a collection only.
create table external_ids (
  tenant_id uuid not null,
  collection text collate "C" not null,
  system text collate "C" not null,
  external_id text collate "C" not null,
  record_id uuid not null,
  live boolean not null,
  primary key (tenant_id, record_id, system)
);
create unique index external_id_taken on external_ids (tenant_id, collection, system, external_id) where live;
select kit.tenant_table('external_ids');

create table record_tags (
  tenant_id uuid not null,
  record_id uuid not null,
  tag text collate "C" not null,
  primary key (tenant_id, record_id, tag)
);
create index record_tag on record_tags (tenant_id, tag, record_id);
select kit.tenant_table('record_tags');

-- Makes the look-up rows of a record what its row says now. Only rows that differ are touched. Runs in the
-- statement that writes the record, whose version condition keeps two writers of one record apart.
create function keep_keys(of_tenant uuid, of_collection text, of_record uuid, is_live boolean,
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
end $$;

-- Identity's legal entities, applied from its events when newer than what is here.
create table legal_entities (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  country text not null,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
select kit.tenant_table('legal_entities');

-- The number that comes next. The tenant's own series, for accounts of no legal entity, has the nil id.
create table number_series (
  tenant_id uuid not null,
  legal_entity_id uuid not null,
  collection text not null,
  prefix text not null,
  next bigint not null,
  gapless boolean not null,
  primary key (tenant_id, legal_entity_id, collection)
);
select kit.tenant_table('number_series');
