-- Contacts wait for their comparison as before; all that one statement wrote are queued by one statement.
create function queue_written_for_duplicates() returns trigger language plpgsql as $$
begin
  insert into duplicate_queue (tenant_id, kind, record_id) select w.tenant_id, tg_argv[0]::smallint, w.id from written w;
  return null;
end $$;
drop trigger queue_for_duplicates on contacts;
create trigger queue_inserted_for_duplicates after insert on contacts referencing new table as written
  for each statement execute function queue_written_for_duplicates(2);
create trigger queue_updated_for_duplicates after update on contacts referencing new table as written
  for each statement execute function queue_written_for_duplicates(2);
