-- Long work, and the files that it reads and leaves.

-- Jobs. `state` is a number of the proto's JobState: 1 pending, 2 running, 3 succeeded, 4 failed, 5 cancelled,
-- 6 undone. `due_at` is the time before which nobody takes a job: the lease of the process that works on it, renewed
-- while it does, or the wait after a failure. `fence` grows with every taking; a step commits only under its own.
create table kit.job (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null default 1,
  kind text not null,
  permission text not null,
  undoes uuid,
  undoable boolean not null,
  state smallint not null default 1 check (state between 1 and 6),
  owner_id uuid not null,
  actor text not null,
  on_behalf_of text,
  limits text[],
  request bytea not null,
  checkpoint bytea not null default '',
  input_ids uuid[] not null,
  output_ids uuid[] not null default '{}',
  done bigint not null default 0,
  refused bigint not null default 0,
  total bigint,
  message text not null default '',
  error bytea,
  holder text not null default '',
  fence bigint not null default 0,
  attempts integer not null default 0,
  due_at timestamptz not null default now(),
  created_at timestamptz not null,
  started_at timestamptz,
  updated_at timestamptz not null,
  cancelled_at timestamptz,
  ended_at timestamptz,
  primary key (tenant_id, id)
);
create index job_list on kit.job (tenant_id, created_at, id);
create index job_own on kit.job (tenant_id, owner_id, created_at, id);
create index job_live on kit.job (due_at) where state in (1, 2);
create index job_live_of_tenant on kit.job (tenant_id) where state in (1, 2);
create index job_ended on kit.job (ended_at) where ended_at is not null;
-- One at a time, and none after one that succeeded.
create unique index job_undo on kit.job (tenant_id, undoes) where undoes is not null and state in (1, 2, 3);
select kit.tenant_table('kit.job');

-- Files. `state`: 1 uploading, 2 ready. `size` is what was announced; of a file that a job writes it is unknown until
-- the file is ready.
create table kit.file (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null default 1,
  state smallint not null default 1 check (state in (1, 2)),
  owner_id uuid not null,
  owner text not null,
  display_name text not null,
  media_type text not null,
  size bigint,
  stored bigint not null default 0,
  sha256 bytea,
  created_at timestamptz not null,
  completed_at timestamptz,
  expires_at timestamptz not null,
  primary key (tenant_id, id)
);
create index file_expiry on kit.file (expires_at);
select kit.tenant_table('kit.file');

-- Bytes of files, in chunks of at most 1 MiB. They are stored as they are: compressing would cost more than it saves.
create table kit.file_chunk (
  tenant_id uuid not null,
  file_id uuid not null,
  start bigint not null,
  bytes bytea not null check (length(bytes) between 1 and 1048576),
  primary key (tenant_id, file_id, start)
);
alter table kit.file_chunk alter column bytes set storage external;
-- A chunk goes with its file, by one statement of the file's.
alter table kit.file_chunk add constraint file_chunk_file foreign key (tenant_id, file_id) references kit.file on delete cascade;
select kit.tenant_table('kit.file_chunk');

-- What a job wrote, in order, so that another one can take it back.
create index journal_job on kit.journal (tenant_id, job_id, id) where job_id is not null;
