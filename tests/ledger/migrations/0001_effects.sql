-- One row for each time an event took effect; a double effect is a second row, not an error.
create table effects (
  position bigint generated always as identity primary key,
  tenant_id uuid not null,
  record_id uuid not null,
  version bigint not null
);
select kit.tenant_table('effects');
