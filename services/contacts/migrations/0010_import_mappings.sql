-- Workbooks are imported, and mappings of imports are saved.

-- The rows of a sheet that a running import has unpacked: a piece of them is one step. Gone when it has ended.
create table import_pieces (
  tenant_id uuid not null,
  job_id uuid not null,
  number integer not null,
  content bytea not null,
  primary key (tenant_id, job_id, number)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
select kit.tenant_table('import_pieces');

-- Saved mappings of imports.
create table import_mappings (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  owner_kind smallint not null,
  owner_id uuid not null,
  display_name text not null,
  name_folded text collate "C" not null,
  -- What rows become, as the rules have it.
  collection text collate "C" not null,
  -- 1 CSV, 2 vCard, 3 XLSX.
  format smallint not null,
  header text[] not null,
  -- An ImportRules as it was sent.
  rules bytea not null,
  -- 1 its owner, 2 everybody.
  visibility smallint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create index import_mapping_name on import_mappings (tenant_id, name_folded, id);
create index import_mapping_created on import_mappings (tenant_id, created_at, id);
create index import_mapping_updated on import_mappings (tenant_id, updated_at, id);
create index import_mapping_collection on import_mappings (tenant_id, collection, updated_at desc, id);
select kit.tenant_table('import_mappings');
