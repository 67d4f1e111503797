-- Imports: what each has done so far, and which records its rows were about.

create table import_reports (
  tenant_id uuid not null,
  job_id uuid not null,
  owner_id uuid not null,
  dry_run boolean not null,
  created bigint not null,
  updated bigint not null,
  unchanged bigint not null,
  -- Accounts that were loaded without the parent that their row names; they are counted above too.
  unlinked bigint not null default 0,
  -- How many rows were refused for each reason.
  refusals jsonb not null,
  refused_file_id uuid,
  primary key (tenant_id, job_id)
);
select kit.tenant_table('import_reports');

-- What the rows of a running import were about, each with the line of the first row about it. Gone when it has ended.
create table import_keys (
  tenant_id uuid not null,
  job_id uuid not null,
  key text collate "C" not null,
  line bigint not null,
  primary key (tenant_id, job_id, key)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000);
select kit.tenant_table('import_keys');

-- Accounts of a running import whose row names a parent, which is looked for when every row has been read. Gone when
-- that is done.
create table import_links (
  tenant_id uuid not null,
  job_id uuid not null,
  line bigint not null,
  record_id uuid not null,
  parent text collate "C" not null,
  -- Whether the row left the account as it was.
  unchanged boolean not null,
  primary key (tenant_id, job_id, line)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000);
select kit.tenant_table('import_links');
