-- Digits in a row of an address are keys: keys are made again. Until then a number of five digits and more does not find
-- the addresses that it stands in.
-- The tenants are stepped through by the primary key, so that nobody waits for a scan of the largest table.
alter table search_again no force row level security;
with recursive tenants (id) as (
  (select tenant_id from search_doc order by tenant_id limit 1)
  union all
  select (select d.tenant_id from search_doc d where d.tenant_id > t.id order by d.tenant_id limit 1) from tenants t where t.id is not null
)
insert into search_again (tenant_id, rounds) select id, 2 from tenants where id is not null
  on conflict (tenant_id) do update set after = default, rounds = 2, not_before = now();
alter table search_again force row level security;
