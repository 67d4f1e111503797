-- As before, by one statement for all entries: a statement for each costs more than the rows that it writes.
-- Ids are given in the order of the entries. A key stands once, with everything that was written under it.
create or replace function kit.record_all(entries kit.entry[]) returns bigint language plpgsql as $$
declare
  recorded timestamptz := clock_timestamp();
  keyed record;
begin
  with numbered as materialized (
    select nextval('kit.journal_id') as id, e.* from (select * from unnest(entries) with ordinality order by ordinality) e
  ), journal as (
    insert into kit.journal (id, tenant_id, record_type, record_id, version, ordinal, fact, message_type, message,
        actor, on_behalf_of, request_id, trace_id, job_id, recorded_at, subjects)
      select id, tenant_id, record_type, record_id, version, ordinal, fact, message_type, message,
        actor, on_behalf_of, request_id, trace_id, job_id, recorded, subjects from numbered
  )
  insert into kit.outbox (shard, id, tenant_id, xid, recorded_at, record_id, bulk)
    select kit.shard(record_id), id, tenant_id, pg_current_xact_id(), recorded, record_id, bulk from numbered;

  for keyed in
    select e.tenant_id, e.actor || coalesce('/' || e.on_behalf_of, '') as actor, e.key, (array_agg(e.key_hash))[1] as hash,
      array_agg(e.record_type || '/' || e.record_id || '@' || e.version order by e.ordinality) as written
    from unnest(entries) with ordinality e where e.key is not null group by 1, 2, 3
  loop
    -- A key of this transaction goes on; one of an earlier transaction violates idempotency_key.
    update kit.idempotency i set written = i.written || keyed.written
      where i.tenant_id = keyed.tenant_id and i.actor = keyed.actor and i.key = keyed.key and i.xid = pg_current_xact_id();
    if not found then
      insert into kit.idempotency (tenant_id, actor, key, request_hash, written)
        values (keyed.tenant_id, keyed.actor, keyed.key, keyed.hash, keyed.written);
    end if;
  end loop;
  return cardinality(entries);
end $$;
