-- Tables of identity. Texts that are searched or sorted have a folded column beside them, of a collation that
-- compares byte by byte, so that indexes serve under row-level security.
-- Foreign keys stay inside one tenant.

create table tenant (
  tenant_id uuid primary key,
  version bigint not null,
  slug text not null,
  display_name text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint tenant_slug unique (slug)
);

create table security_policy (
  tenant_id uuid primary key references tenant,
  version bigint not null,
  password_min_length integer not null,
  lockout_attempts integer not null,
  lockout_base_seconds integer not null,
  session_idle_seconds integer not null,
  session_absolute_seconds integer not null,
  history_retention_days integer not null,
  data_owner text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create table legal_entity (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  country text not null,
  currency text not null,
  fiscal_year_start_month integer not null,
  default_language text not null,
  time_zone text not null,
  tax_ids jsonb not null,
  number_series jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
);
create index legal_entity_name on legal_entity (tenant_id, name_folded, id);
create index legal_entity_age on legal_entity (tenant_id, created_at, id);
create index legal_entity_in_country on legal_entity (tenant_id, country, name_folded, id);
create index legal_entity_currency on legal_entity (tenant_id, currency, name_folded, id);

create table business_unit (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  parent_id uuid,
  legal_entity_id uuid,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint unit_parent foreign key (tenant_id, parent_id) references business_unit,
  constraint unit_legal_entity foreign key (tenant_id, legal_entity_id) references legal_entity,
  constraint unit_name unique nulls not distinct (tenant_id, parent_id, name_folded)
);
create index business_unit_name on business_unit (tenant_id, name_folded, id);
create index business_unit_age on business_unit (tenant_id, created_at, id);
create index business_unit_of on business_unit (tenant_id, legal_entity_id, name_folded, id);

create table team (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  description text not null,
  members uuid[] not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint team_name unique (tenant_id, name_folded)
);
create index team_age on team (tenant_id, created_at, id);

create table role (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  description text not null,
  shipped boolean not null,
  permissions text[] not null,
  field_rules jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint role_name unique (tenant_id, name_folded)
);
create index role_age on role (tenant_id, created_at, id);
create index role_shipped on role (tenant_id, shipped, name_folded, id);

-- `users`, because `user` is a word of SQL. `email_key` decides about sameness, `email_folded` is for lists.
create table users (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  email text not null,
  email_key text not null,
  email_folded text collate "C" not null,
  unit_id uuid,
  disabled boolean not null,
  locked_until timestamptz,
  grants jsonb not null,
  locale text not null,
  time_zone text not null,
  password_hash text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint user_email unique (tenant_id, email_key),
  constraint user_unit foreign key (tenant_id, unit_id) references business_unit
);
create index user_name on users (tenant_id, name_folded, id);
create index user_address on users (tenant_id, email_folded, id);
create index user_age on users (tenant_id, created_at, id);
create index user_in_unit on users (tenant_id, unit_id, id);

-- Failed sign-ins by address, known or not: a keyed hash, since addresses of strangers are nobody's business.
create table sign_in_failure (
  tenant_id uuid not null references tenant,
  address bytea not null,
  failures integer not null,
  locks integer not null,
  locked_until timestamptz,
  failed_at timestamptz not null,
  primary key (tenant_id, address)
);
create index sign_in_failure_age on sign_in_failure (failed_at);

-- `previous_hash` is the token that `refresh_hash` came from; it may come again until its successor was used.
create table session (
  tenant_id uuid not null references tenant,
  id uuid not null,
  user_id uuid not null,
  user_agent text not null,
  ip_address text not null,
  refresh_hash bytea not null,
  previous_hash bytea,
  last_use_at timestamptz not null,
  idle_expires_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  created_at timestamptz not null,
  primary key (tenant_id, id)
);
create index session_of_user on session (tenant_id, user_id, id) where revoked_at is null;
create index session_end on session (expires_at);

create table service_account (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  display_name text not null,
  name_folded text collate "C" not null,
  description text not null,
  unit_id uuid,
  grants jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint service_account_name unique (tenant_id, name_folded),
  constraint service_account_unit foreign key (tenant_id, unit_id) references business_unit
);
create index service_account_age on service_account (tenant_id, created_at, id);
create index service_account_in_unit on service_account (tenant_id, unit_id, id);

create table api_key (
  tenant_id uuid not null references tenant,
  id uuid not null,
  version bigint not null,
  service_account_id uuid not null,
  display_name text not null,
  scopes text[] not null,
  secret_hash bytea not null,
  secret_prefix text not null,
  expires_at timestamptz not null,
  last_use_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null,
  primary key (tenant_id, id),
  constraint api_key_account foreign key (tenant_id, service_account_id) references service_account on delete cascade
);
create index api_key_of on api_key (tenant_id, service_account_id, id);

select kit.tenant_table(name::regclass) from unnest(array['tenant', 'security_policy', 'legal_entity', 'business_unit', 'team',
  'role', 'users', 'sign_in_failure', 'session', 'service_account', 'api_key']) name;

-- Keys that sign tokens, of the installation and of no tenant. State: 1 next, 2 current, 3 previous.
create table signing_key (
  kid text primary key,
  state smallint not null,
  sealed bytea not null,
  public_key text not null,
  state_at timestamptz not null
);
create unique index signing_key_one on signing_key (state) where state in (1, 2);
grant select, insert, update, delete on signing_key to rapport_system;

-- Rotations that were asked for with an idempotency key.
create table signing_key_rotation (
  key text primary key,
  request_hash bytea not null,
  rotated_at timestamptz not null
);
grant select, insert, delete on signing_key_rotation to rapport_system;
