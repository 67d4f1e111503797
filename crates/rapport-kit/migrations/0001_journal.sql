-- What stands in every service's database: journal, outbox, idempotency keys and the seal.
-- Group roles (rapport_app, rapport_system) exist before: an operator or `provision` makes them.

grant usage on schema kit to rapport_app, rapport_system;

-- Makes a table belong to tenants: only rows of the tenant on the connection are seen or written, even by
-- the table's owner; the system role sees all through its own policy. An empty setting matches nothing.
create function kit.tenant_table(name regclass) returns void language plpgsql as $$
begin
  execute format('alter table %s enable row level security', name);
  execute format('alter table %s force row level security', name);
  execute format($p$create policy tenant on %s to rapport_app
    using (tenant_id = nullif(current_setting('rapport.tenant', true), '')::uuid)
    with check (tenant_id = nullif(current_setting('rapport.tenant', true), '')::uuid)$p$, name);
  execute format('create policy system on %s to rapport_system using (true) with check (true)', name);
  execute format('grant select, insert, update, delete on %s to rapport_app, rapport_system', name);
end $$;

-- Journal: one row for each committed change, written by the statement that makes the change.
-- An era is a stretch in which transaction ids only grow: order over records is (era, xid, id).
create sequence kit.journal_id;
grant usage on sequence kit.journal_id to rapport_app, rapport_system;
create table kit.journal (
  id bigint not null default nextval('kit.journal_id'),
  tenant_id uuid not null,
  record_type text not null,
  record_id uuid not null,
  version bigint not null,
  ordinal smallint not null,
  fact text not null,
  message_type text not null,
  message bytea,
  actor text not null,
  on_behalf_of text,
  request_id text not null,
  trace_id text,
  job_id uuid,
  xid xid8 not null default pg_current_xact_id(),
  era integer not null default 1,
  recorded_at timestamptz not null default clock_timestamp(),
  subjects uuid[] not null,
  primary key (xid, id, recorded_at)
) partition by range (recorded_at);
create index journal_record on kit.journal (tenant_id, record_id, version, ordinal);
-- Read from a place onwards by every service; only identity writes such rows.
create index journal_policy on kit.journal (era, xid, id) where fact = 'identity.policy.changed.v1';
-- Finds the few rows of another era without a cost for those who write.
create index journal_era on kit.journal using brin (era);
create table kit.journal_default partition of kit.journal default;
alter table kit.journal_default enable row level security;
alter table kit.journal_default force row level security;
select kit.tenant_table('kit.journal');
-- Append only, for everyone but the owner.
revoke update, delete on kit.journal from rapport_app, rapport_system;

-- The era that new rows belong to: the default of the column is the one place that says it.
create function kit.current_era() returns integer language sql stable as $$
  select pg_get_expr(d.adbin, d.adrelid)::integer from pg_attrdef d
  join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  where d.adrelid = 'kit.journal'::regclass and a.attname = 'era'
$$;

-- Begins a new era; answers it. For the operator who has restored a backup, as the owner and before the
-- service starts: what was handed out from then on is handed out anew, and ids do not come twice.
create function kit.begin_era() returns integer language plpgsql as $$
declare
  following integer := kit.current_era() + 1;
begin
  execute format('alter table kit.journal alter column era set default %s', following);
  return following;
end $$;
revoke execute on function kit.begin_era() from public;

-- Gives this month, the two after it, and each month that has rows in the default partition a partition of
-- its own; those rows move there. Only rows of months that had none when they were written lie in the
-- default partition, so there are none while upkeep runs. Runs as the owner, because the roles that services
-- use run no DDL; gives up where it would hold writers up by waiting for a lock.
create function kit.ensure_journal_partitions() returns void language plpgsql security definer
  set search_path = kit, pg_temp set lock_timeout = '2s' as $$
declare
  months timestamptz[];
  month timestamptz;
  upper timestamptz;
  name text;
begin
  perform pg_advisory_xact_lock(hashtextextended('rapport.partitions', 0));
  months := array(select (date_trunc('month', now() at time zone 'utc') + step * interval '1 month') at time zone 'utc'
    from generate_series(0, 2) step);
  if pg_relation_size('kit.journal_default') > 0 then
    lock table kit.journal_default in access exclusive mode;
    alter table kit.journal_default no force row level security;
    months := months || array(select distinct date_trunc('month', recorded_at at time zone 'utc') at time zone 'utc'
      from kit.journal_default);
  end if;
  foreach month in array months loop
    name := 'journal_' || to_char(month at time zone 'utc', 'YYYYMM');
    if to_regclass('kit.' || name) is null then
      upper := (month at time zone 'utc' + interval '1 month') at time zone 'utc';
      execute format('create table kit.%I (like kit.journal including defaults including constraints)', name);
      execute format('with moved as (delete from kit.journal_default where recorded_at >= %L and recorded_at < %L returning *)
        insert into kit.%I select * from moved', month, upper, name);
      execute format('alter table kit.journal attach partition kit.%I for values from (%L) to (%L)', name, month, upper);
      execute format('alter table kit.%I enable row level security', name);
      execute format('alter table kit.%I force row level security', name);
    end if;
  end loop;
  if pg_relation_size('kit.journal_default') > 0 then
    if exists (select from kit.journal_default) then
      raise exception 'the default partition of the journal still has rows';
    end if;
    -- Gives the empty pages back, so that the next round finds nothing to look through.
    truncate kit.journal_default;
    alter table kit.journal_default force row level security;
  end if;
end $$;
revoke execute on function kit.ensure_journal_partitions() from public;
grant execute on function kit.ensure_journal_partitions() to rapport_system;
select kit.ensure_journal_partitions();

-- Outbox: points at journal rows that the broker has not confirmed yet. Short-lived rows, so vacuumed eagerly.
create table kit.outbox (
  shard smallint not null,
  id bigint not null,
  tenant_id uuid not null,
  xid xid8 not null,
  recorded_at timestamptz not null,
  record_id uuid not null,
  bulk boolean not null,
  primary key (shard, bulk, id)
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000);
select kit.tenant_table('kit.outbox');

-- Bulk rows by record, so that a record's later rows can wait for them.
create index outbox_bulk on kit.outbox (record_id, id) where bulk;

-- Event keys that a queue wanted at least once: if it wants them no more, it has lost its binding.
create table kit.claimed_key (key text primary key);
grant select, insert on kit.claimed_key to rapport_system;

-- Idempotency keys: what a key wrote, and what it found as it asked for, so that the answer can be given again.
-- The actor is followed by whom it acts for, if for somebody else: another's request is another.
create table kit.idempotency (
  tenant_id uuid not null,
  actor text not null,
  key text not null,
  request_hash bytea not null,
  written text[] not null,
  found text[] not null default '{}',
  xid xid8 not null default pg_current_xact_id(),
  created_at timestamptz not null default now(),
  constraint idempotency_key primary key (tenant_id, actor, key)
);
create index idempotency_age on kit.idempotency (created_at);
select kit.tenant_table('kit.idempotency');

-- One journal entry as a command hands it over.
create type kit.entry as (
  tenant_id uuid,
  record_type text,
  record_id uuid,
  version bigint,
  ordinal smallint,
  fact text,
  message_type text,
  message bytea,
  actor text,
  on_behalf_of text,
  request_id text,
  trace_id text,
  job_id uuid,
  subjects uuid[],
  bulk boolean,
  key text,
  key_hash bytea
);

-- Writes the journal row, the outbox row and, with a key, the idempotency row. A key that an earlier
-- transaction used violates idempotency_key, so that the whole statement rolls back.
create function kit.record(entry kit.entry) returns bigint language plpgsql as $$
declare
  journal_id bigint := nextval('kit.journal_id');
  recorded timestamptz := clock_timestamp();
  key_actor text := entry.actor || coalesce('/' || entry.on_behalf_of, '');
  holder xid8;
begin
  insert into kit.journal (id, tenant_id, record_type, record_id, version, ordinal, fact, message_type, message,
      actor, on_behalf_of, request_id, trace_id, job_id, recorded_at, subjects)
    values (journal_id, entry.tenant_id, entry.record_type, entry.record_id, entry.version, entry.ordinal, entry.fact,
      entry.message_type, entry.message, entry.actor, entry.on_behalf_of, entry.request_id, entry.trace_id,
      entry.job_id, recorded, entry.subjects);
  insert into kit.outbox (shard, id, tenant_id, xid, recorded_at, record_id, bulk)
    values ((get_byte(uuid_send(entry.record_id), 15) & 7)::smallint, journal_id, entry.tenant_id,
      pg_current_xact_id(), recorded, entry.record_id, entry.bulk);
  if entry.key is not null then
    select xid into holder from kit.idempotency
      where tenant_id = entry.tenant_id and actor = key_actor and key = entry.key;
    if holder = pg_current_xact_id() then
      update kit.idempotency set written = written || (entry.record_type || '/' || entry.record_id || '@' || entry.version)
        where tenant_id = entry.tenant_id and actor = key_actor and key = entry.key;
    else
      insert into kit.idempotency (tenant_id, actor, key, request_hash, written)
        values (entry.tenant_id, key_actor, entry.key, entry.key_hash,
          array[entry.record_type || '/' || entry.record_id || '@' || entry.version]);
    end if;
  end if;
  return journal_id;
end $$;

-- The set form: all entries of a batch, in order; answers how many there were.
create function kit.record_all(entries kit.entry[]) returns bigint language plpgsql as $$
declare
  entry kit.entry;
begin
  foreach entry in array entries loop
    perform kit.record(entry);
  end loop;
  return cardinality(entries);
end $$;

-- Seal: signed checkpoints over the journal rows behind the transaction horizon.
create table kit.seal (
  id bigint generated always as identity primary key,
  through_xid xid8 not null,
  through_id bigint not null,
  era integer not null,
  entries bigint not null,
  digest bytea not null,
  salt bytea not null,
  signature bytea not null,
  key_id text not null,
  sealed_at timestamptz not null default now(),
  constraint seal_digest unique (digest)
);
grant select, insert on kit.seal to rapport_system;
grant usage on all sequences in schema kit to rapport_system;
