-- Loads of what another program exported: rows that it has deleted, owners that nobody knows here, and what a dry run
-- foresees of the tree of accounts.

alter table import_reports
  -- Rows that the source has deleted.
  add column deleted bigint not null default 0,
  -- Rows whose owner in the source is nobody here; they are counted as what became of them too.
  add column unknown_owners bigint not null default 0;

alter table import_links
  -- Whether the import made the account.
  add column created boolean not null default false,
  -- Of a dry run: the parent that the account would have got.
  add column parent_id uuid;
-- The tables are small: they hold rows of running imports only.
create index import_link_record on import_links (tenant_id, job_id, record_id);
create index import_link_parent on import_links (tenant_id, job_id, parent_id);
