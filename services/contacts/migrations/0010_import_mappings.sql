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
