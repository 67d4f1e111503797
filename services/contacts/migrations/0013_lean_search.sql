-- Search by fewer keys a record, which reach their places in the index many at a time.

-- Keys are put aside and sorted in by the hundred, which takes a fifth of the time of one by one. A search looks through
-- those that are still aside, so their room is small (kB), and the task has them sorted in when nothing is left to do.
alter index search_doc_keys set (fastupdate = on, gin_pending_list_limit = 512);
-- Room beside each row: one whose keys stay as they are is rewritten without touching the index.
alter table search_doc set (fillfactor = 90);

-- Only the owner of an index may have it put in order.
create function settle_search() returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.gin_clean_pending_list('public.search_doc_keys'::regclass)
$$;
revoke execute on function settle_search() from public;
grant execute on function settle_search() to rapport_system;

-- What an import wrote comes after what somebody changed.
alter table search_queue add bulk boolean not null default false;
create index search_queue_lane on search_queue (bulk, id);

-- Tenants whose records' keys are to be made again, a part at a time, each with the record that was queued last.
create table search_again (
  tenant_id uuid not null primary key,
  after uuid not null default '00000000-0000-0000-0000-000000000000'
);
-- Keys are made another way from now on. The owner sees rows of no tenant while the policy holds for it.
alter table search_doc no force row level security;
insert into search_again (tenant_id) select distinct tenant_id from search_doc;
alter table search_doc force row level security;
select kit.tenant_table('search_again');
