-- Who may do what: shares, the copy of identity's policy and keys, and the log of refusals and sensitive reads.

-- Shares and record teams: access to one record given to one subject.
create table kit.share (
  tenant_id uuid not null,
  record_id uuid not null,
  subject_id uuid not null,
  subject_kind text not null,
  can_write boolean not null,
  role text not null,
  created_by text not null,
  created_at timestamptz not null,
  primary key (tenant_id, record_id, subject_id)
);
create index share_subject on kit.share (tenant_id, subject_id, record_id);
select kit.tenant_table('kit.share');

-- Policy copy: identity's tenants, units, teams, subjects and roles, applied when newer than what is here.
-- Deleted rows stay as tombstones, so that a late event brings nothing back.
create table kit.policy_tenant (
  tenant_id uuid primary key,
  version bigint not null,
  ready boolean not null
);
create table kit.policy_unit (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  parent_id uuid,
  deleted boolean not null,
  primary key (tenant_id, id)
);
create table kit.unit_ancestor (
  tenant_id uuid not null,
  unit_id uuid not null,
  ancestor_id uuid not null,
  primary key (tenant_id, unit_id, ancestor_id)
);
create index unit_ancestor_down on kit.unit_ancestor (tenant_id, ancestor_id, unit_id);
create table kit.policy_team (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  deleted boolean not null,
  primary key (tenant_id, id)
);
create table kit.team_member (
  tenant_id uuid not null,
  team_id uuid not null,
  subject_id uuid not null,
  primary key (tenant_id, team_id, subject_id)
);
create index team_member_subject on kit.team_member (tenant_id, subject_id, team_id);
create table kit.policy_subject (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  kind text not null,
  unit_id uuid,
  active boolean not null,
  grants jsonb not null,
  deleted boolean not null,
  primary key (tenant_id, id)
);
create index policy_subject_unit on kit.policy_subject (tenant_id, unit_id, id);
create table kit.policy_role (
  tenant_id uuid not null,
  id uuid not null,
  version bigint not null,
  name text not null,
  permissions text[] not null,
  field_rules jsonb not null,
  deleted boolean not null,
  primary key (tenant_id, id)
);
create table kit.policy_revoked_session (
  tenant_id uuid not null,
  id uuid not null,
  revoked_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
select kit.tenant_table(name::regclass) from unnest(array['kit.policy_tenant', 'kit.policy_unit', 'kit.unit_ancestor',
  'kit.policy_team', 'kit.team_member', 'kit.policy_subject', 'kit.policy_role', 'kit.policy_revoked_session']) name;
create table kit.policy_cursor (
  one boolean primary key default true check (one),
  since text not null
);
grant select, insert, update, delete on kit.policy_cursor to rapport_system;

-- Identity's public keys as last seen, so that a service can start while identity is away.
create table kit.signing_keys (
  one boolean primary key default true check (one),
  keys jsonb not null
);
grant select, insert, update on kit.signing_keys to rapport_system;

-- Access log: refusals at the door and sensitive reads, neither of which changes a record.
create table kit.access_log (
  tenant_id uuid not null,
  id uuid not null,
  kind text not null check (kind in ('denied', 'read')),
  subject text not null,
  method text not null,
  reason text not null,
  names text[] not null,
  calls integer not null,
  request_id text not null,
  logged_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index access_log_age on kit.access_log (logged_at);
select kit.tenant_table('kit.access_log');
revoke update, delete on kit.access_log from rapport_app, rapport_system;
-- Retention removes old rows; what is younger than 30 days nobody who serves can remove.
grant delete on kit.access_log to rapport_system;
create policy kept on kit.access_log as restrictive for delete to rapport_system using (logged_at < now() - interval '30 days');
