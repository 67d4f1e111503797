-- Consuming and working together: inbox, held events, bindings, leases.

-- Inbox: events that a consumer has taken charge of: their effect is committed here, or they are held below.
create table kit.inbox (
  tenant_id uuid not null,
  consumer text not null,
  event_id text not null,
  received_at timestamptz not null default now(),
  primary key (tenant_id, consumer, event_id)
);
create index inbox_age on kit.inbox (received_at);
select kit.tenant_table('kit.inbox');

-- Events that are held back: dead ones could not be handled and are kept until somebody replays or discards
-- them, due ones are to be handled now, waiting ones stand behind an earlier one of their record. `seq` is the
-- order of a record's events, the first of which never waits.
create table kit.dead_letter (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null default 1,
  state text not null check (state in ('dead', 'due', 'waiting')),
  seq bigint generated always as identity,
  consumer text not null,
  event_id text not null,
  fact text not null,
  subject text not null,
  subject_version bigint not null,
  routing_key text not null,
  headers jsonb not null,
  body bytea not null,
  reason text not null,
  attempts integer not null,
  first_failed_at timestamptz not null default now(),
  last_failed_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index dead_letter_record on kit.dead_letter (tenant_id, consumer, subject, seq);
create index dead_letter_list on kit.dead_letter (tenant_id, first_failed_at, id) where state = 'dead';
create index dead_letter_due on kit.dead_letter (consumer, seq) where state = 'due';
create index dead_letter_nobodys on kit.dead_letter (last_failed_at) where tenant_id = '00000000-0000-0000-0000-000000000000';
select kit.tenant_table('kit.dead_letter');

-- Event keys that a consumer's queues were ever bound to: what is not wanted any more is unbound.
create table kit.bound_key (
  consumer text not null,
  key text not null,
  primary key (consumer, key)
);
grant select, insert on kit.bound_key to rapport_system;

-- Leases: one holder at a time for a shard, a partition or a job.
create table kit.lease (
  name text primary key,
  holder text not null,
  expires_at timestamptz not null
);
grant select, insert, update, delete on kit.lease to rapport_system;
grant usage on all sequences in schema kit to rapport_system;
