-- Events that nobody asked for yet: what the relay passed over, so that the first consumer of a key still gets it.

-- Event keys that no queue wants yet, one row each: the first event that was passed over, and how far the journal
-- has been put back into the outbox; null while nobody asks. A row of the outbox is passed over only if it stands
-- behind the place in here, so that a replay reaches it.
create table kit.unclaimed_key (
  key text primary key,
  first_id bigint not null,
  first_xid xid8 not null,
  first_recorded_at timestamptz not null,
  replayed_through bigint,
  probe_at timestamptz not null
);
grant select, insert, update, delete on kit.unclaimed_key to rapport_system;

-- How far a replay has to go: to the last id that was handed out.
grant select on sequence kit.journal_id to rapport_system;

-- A replay reads the journal by id, because that is the order of a record's events; ids lie in the order of
-- writing, so that the smallest of indexes finds them. Building it keeps writers out for as long as it takes to read
-- the journal through; it comes before the first release, while no installation has a large one.
create index journal_id_order on kit.journal using brin (id) with (autosummarize = on);

-- When an event that had been passed over came back; it waits since then, and not since it was recorded.
alter table kit.outbox add column replayed_at timestamptz;

-- The shard that kit.record gives to a record's events.
create function kit.shard(record_id uuid) returns smallint language sql immutable strict parallel safe as $$
  select (get_byte(uuid_send(record_id), 15) & 7)::smallint
$$;
