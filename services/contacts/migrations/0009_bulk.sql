-- The records of bulk changes that are under way, as they were chosen when the job was started: what is left of them, in
-- pieces that a step takes one by one.
create table bulk_set (
  tenant_id uuid not null,
  job_id uuid not null,
  place integer not null,
  record_ids uuid[] not null,
  primary key (tenant_id, job_id, place)
);
select kit.tenant_table('bulk_set');
