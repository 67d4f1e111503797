-- What the consumer of the tests did: one row for each effect, in the order of effects. Nothing is unique
-- here on purpose, so that an effect that happens twice is seen.
create table effect (
  tenant_id uuid not null,
  seq bigint generated always as identity,
  record_id uuid not null,
  version bigint not null,
  event_id text not null,
  primary key (tenant_id, seq)
);
select kit.tenant_table('effect');

-- Names of events that the reaction of the tests cannot handle at present.
create table broken (
  tenant_id uuid not null,
  name text not null,
  primary key (tenant_id, name)
);
select kit.tenant_table('broken');
