-- Contacts and the accounts they act for.

create table contacts (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  owner_kind smallint not null,
  owner_id uuid not null,
  -- Everything that describes the person, contact points and addresses included.
  person jsonb not null,
  family_folded text collate "C" not null,
  given_folded text collate "C" not null,
  language text collate "C" not null,
  account_roles jsonb not null,
  external_ids jsonb not null,
  tags text[] not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleted_at timestamptz,
  primary key (tenant_id, id)
);
create index contact_family on contacts (tenant_id, family_folded, id) where deleted_at is null;
create index contact_owner_family on contacts (tenant_id, owner_id, family_folded, id) where deleted_at is null;
create index contact_given on contacts (tenant_id, given_folded, id) where deleted_at is null;
create index contact_language on contacts (tenant_id, language, family_folded, id) where deleted_at is null;
create index contact_created on contacts (tenant_id, created_at, id) where deleted_at is null;
create index contact_updated on contacts (tenant_id, updated_at, id) where deleted_at is null;
select kit.tenant_table('contacts');

-- The accounts of a contact. `sole` marks the one live contact of a private customer.
create table contact_accounts (
  tenant_id uuid not null,
  contact_id uuid not null,
  account_id uuid not null,
  sole boolean not null,
  primary key (tenant_id, contact_id, account_id)
);
create index account_contact on contact_accounts (tenant_id, account_id, contact_id);
create unique index person_account_contact on contact_accounts (tenant_id, account_id) where sole;
select kit.tenant_table('contact_accounts');

-- Makes the accounts of a contact what its row says now; as keep_keys.
create function keep_contact_accounts(of_tenant uuid, of_contact uuid, accounts uuid[], soles boolean[]) returns void
  language plpgsql as $$
begin
  delete from contact_accounts k where k.tenant_id = of_tenant and k.contact_id = of_contact
    and not exists (select from unnest(accounts, soles) a(id, sole) where a.id = k.account_id and a.sole = k.sole);
  insert into contact_accounts (tenant_id, contact_id, account_id, sole)
    select of_tenant, of_contact, a.id, a.sole from unnest(accounts, soles) a(id, sole)
    on conflict (tenant_id, contact_id, account_id) do nothing;
end $$;
