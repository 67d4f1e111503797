-- Saved views of the lists of accounts and contacts.

create table views (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  owner_kind smallint not null,
  owner_id uuid not null,
  display_name text not null,
  name_folded text collate "C" not null,
  collection text collate "C" not null,
  filter text not null,
  order_by text not null,
  columns text[] not null,
  -- 1 its owner, 2 the team, 3 everybody.
  visibility smallint not null,
  team_id uuid,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create index view_name on views (tenant_id, name_folded, id);
create index view_created on views (tenant_id, created_at, id);
create index view_updated on views (tenant_id, updated_at, id);
select kit.tenant_table('views');
