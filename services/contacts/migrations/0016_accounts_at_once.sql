-- The same for accounts, apart: whoever writes a contact may hold both tables, and must not wait for a migration that does.
drop trigger queue_for_duplicates on accounts;
create trigger queue_inserted_for_duplicates after insert on accounts referencing new table as written
  for each statement execute function queue_written_for_duplicates(1);
create trigger queue_updated_for_duplicates after update on accounts referencing new table as written
  for each statement execute function queue_written_for_duplicates(1);
drop function queue_for_duplicates();
