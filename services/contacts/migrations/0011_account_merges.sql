-- Merges of accounts: where an account goes on that was merged into another one, and what keeps contacts from naming one
-- that was merged.

-- As on contacts; a release that does not know the column leaves it null.
alter table accounts add column merged_into uuid;
-- So that such a release brings none back that goes on in another one. Nothing is to be checked in a new column.
alter table accounts add constraint account_merged check (merged_into is null or deleted_at is not null) not valid;
-- Numbers of merged accounts lead to where these go on.
create index account_merged_number on accounts (tenant_id, number) where merged_into is not null;

-- The last account of a chain of merges that begins with `of_account`; as merged_contact.
create function merged_account(of_tenant uuid, of_account uuid) returns uuid language plpgsql stable as $$
declare
  here uuid := of_account;
  following uuid;
begin
  for step in 1..1000 loop
    select merged_into into following from accounts where tenant_id = of_tenant and id = here;
    exit when following is null;
    here := following;
  end loop;
  return here;
end $$;

-- A merge moves the contacts of the loser while it holds that account. Whoever links a contact to an account holds it too, as
-- a foreign key would, until the link is committed: so each link is either seen by the merge and moved, or refused here.
create function refuse_merged_accounts() returns trigger language plpgsql as $$
declare
  of_tenant uuid;
  linked uuid[];
begin
  select tenant_id into of_tenant from added limit 1;
  if not found then
    return null;
  end if;
  linked := array(select distinct account_id from added);
  perform from accounts a where a.tenant_id = of_tenant and a.id = any(linked) order by a.id for key share;
  -- A statement of its own sees what was committed while the one before waited.
  if exists (select from accounts a where a.tenant_id = of_tenant and a.id = any(linked) and a.merged_into is not null) then
    raise exception 'an account of the contact was merged' using errcode = 'check_violation', constraint = 'contact_account_merged';
  end if;
  return null;
end $$;
create trigger contact_account_merged after insert on contact_accounts referencing new table as added
  for each statement execute function refuse_merged_accounts();
