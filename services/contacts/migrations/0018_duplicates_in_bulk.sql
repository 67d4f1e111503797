-- What came in bulk is compared behind what people changed, as it is indexed for search behind it. The queue is short, but
-- in the midst of an import.
alter table duplicate_queue add column bulk boolean not null default false;
drop index duplicate_queue_keyed;
drop index duplicate_queue_unkeyed;
create index duplicate_queue_lane on duplicate_queue (bulk, keyed, id);

-- As before; what a transaction of a job writes waits in the lane for bulk.
create or replace function queue_written_for_duplicates() returns trigger language plpgsql as $$
begin
  insert into duplicate_queue (tenant_id, kind, record_id, bulk)
    select w.tenant_id, tg_argv[0]::smallint, w.id, coalesce(current_setting('rapport.bulk', true), '') = 'on' from written w;
  return null;
end $$;
