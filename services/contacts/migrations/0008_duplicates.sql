-- Duplicates: rules, the keys under which records meet, and pairs of records that rules take for the same.

create table duplicate_rules (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  -- 1 accounts, 2 contacts.
  kind smallint not null,
  comparisons jsonb not null,
  threshold integer not null,
  blocks boolean not null,
  disabled boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create index duplicate_rule_name on duplicate_rules (tenant_id, name_folded, id);
select kit.tenant_table('duplicate_rules');

-- Hashes (duplicate/keys.rs); records with one in common are compared.
create table duplicate_keys (
  tenant_id uuid not null,
  key bigint not null,
  record_id uuid not null,
  primary key (tenant_id, key, record_id)
);
create index duplicate_key_record on duplicate_keys (tenant_id, record_id);
select kit.tenant_table('duplicate_keys');

-- The version of a record that the task made its keys from: those of a later one are never replaced by an earlier one's.
create table duplicate_keyed (
  tenant_id uuid not null,
  record_id uuid not null,
  version bigint not null,
  primary key (tenant_id, record_id)
);
select kit.tenant_table('duplicate_keyed');
revoke insert, update, delete on duplicate_keyed from rapport_app;

create table duplicate_pairs (
  tenant_id uuid not null,
  -- Made of both records' ids, so that a pair that is found again is the same one.
  id uuid not null,
  -- Counts reviews; 0 while nobody has reviewed it.
  version bigint not null,
  kind smallint not null,
  -- The lesser of both.
  first_id uuid not null,
  second_id uuid not null,
  score integer not null,
  reasons jsonb not null,
  -- 1 open, 2 no duplicate, 3 later.
  state smallint not null,
  later_on date,
  -- Whether one of the records is in the bin.
  gone boolean not null,
  reviewer_kind smallint,
  reviewer_id uuid,
  created_at timestamptz not null,
  reviewed_at timestamptz,
  primary key (tenant_id, id)
);
create index duplicate_pair_score on duplicate_pairs (tenant_id, kind, score, id) where not gone;
create index duplicate_pair_created on duplicate_pairs (tenant_id, kind, created_at, id) where not gone;
create index duplicate_pair_first on duplicate_pairs (tenant_id, first_id);
create index duplicate_pair_second on duplicate_pairs (tenant_id, second_id);
select kit.tenant_table('duplicate_pairs');

-- Records that were written and wait: first for their keys, then to be compared. Keys are committed before their record
-- is compared, so that of two records one at least meets the other. Short-lived rows, so vacuumed eagerly.
create table duplicate_queue (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  kind smallint not null,
  record_id uuid not null,
  keyed boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 20000);
create index duplicate_queue_keyed on duplicate_queue (id) where keyed;
create index duplicate_queue_unkeyed on duplicate_queue (id) where not keyed;

-- Records from before wait too. The owner sees rows of no tenant while the policy holds for it.
alter table accounts no force row level security;
alter table contacts no force row level security;
insert into duplicate_queue (tenant_id, kind, record_id)
  select tenant_id, 1, id from accounts union all select tenant_id, 2, id from contacts;
alter table accounts force row level security;
alter table contacts force row level security;
select kit.tenant_table('duplicate_queue');

-- Every write of a record leaves a row in the queue, that of an older release too.
create function queue_for_duplicates() returns trigger language plpgsql as $$
begin
  insert into duplicate_queue (tenant_id, kind, record_id) values (new.tenant_id, tg_argv[0]::smallint, new.id);
  return null;
end $$;
create trigger queue_for_duplicates after insert or update on accounts for each row execute function queue_for_duplicates(1);
create trigger queue_for_duplicates after insert or update on contacts for each row execute function queue_for_duplicates(2);

-- Makes the keys of a record what they are now, in the statement that writes it; without keys that is left to the task.
create function keep_duplicate_keys(of_tenant uuid, of_record uuid, of_keys bigint[]) returns void language plpgsql as $$
begin
  if of_keys is null then
    return;
  end if;
  delete from duplicate_keys k where k.tenant_id = of_tenant and k.record_id = of_record and not k.key = any(of_keys);
  insert into duplicate_keys (tenant_id, key, record_id)
    select of_tenant, key, of_record from unnest(of_keys) key order by key on conflict do nothing;
end $$;
