-- Merges of records, and where a record goes on that was merged into another one.

-- The record that goes on in the place of this one, as of the merge; that one may have been merged since. A release that
-- does not know the column leaves it null.
alter table contacts add column merged_into uuid;
-- So that such a release brings none back that goes on in another one. Nothing is to be checked in a new column.
alter table contacts add constraint contact_merged check (merged_into is null or deleted_at is not null) not valid;

create table merges (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  collection text collate "C" not null,
  survivor_id uuid not null,
  loser_id uuid not null,
  from_loser text[] not null,
  -- Versions that the merge made; what both records were before is in the journal under the ones before these.
  survivor_version bigint not null,
  loser_version bigint not null,
  -- 1 merged, 2 taken back.
  state smallint not null,
  creator text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create index merge_created on merges (tenant_id, created_at, id);
create index merge_survivor on merges (tenant_id, survivor_id, survivor_version);
create index merge_loser on merges (tenant_id, loser_id);
select kit.tenant_table('merges');

-- What other systems call records that lie in the bin: ids of merged ones lead to where they go on.
create index external_id_left on external_ids (tenant_id, collection, system, external_id) where not live;

-- The last record of a chain of merges that begins with `of_contact`; reads under the caller's policies. A chain is as
-- long as there were merges one upon another; the bound only keeps a damaged table from holding a reader up.
create function merged_contact(of_tenant uuid, of_contact uuid) returns uuid language plpgsql stable as $$
declare
  here uuid := of_contact;
  following uuid;
begin
  for step in 1..1000 loop
    select merged_into into following from contacts where tenant_id = of_tenant and id = here;
    exit when following is null;
    here := following;
  end loop;
  return here;
end $$;
