-- The roles and the database of a service, as far as they are not there, with what no operator sets: limits that end what
-- nobody waits for any more, and a closed door. As a superuser, once for each service; a second time changes nothing:
--   psql ADDRESS --set ON_ERROR_STOP=1 --set service=identity --file deploy/examples/roles.sql
-- New roles have no password: give each one by \password identity_migrator, and so on.
\set migrator :service _migrator
\set app :service _app
\set system :service _system
select format('create role %I nologin', name) from unnest(array['rapport_app', 'rapport_system']) name
  where not exists (select from pg_roles where rolname = name) \gexec
select format('create role %I login', name) from unnest(array[:'migrator', :'app', :'system']) name
  where not exists (select from pg_roles where rolname = name) \gexec
select format('create database %I owner %I', :'service', :'migrator')
  where not exists (select from pg_database where datname = :'service') \gexec
grant rapport_app to :"app";
grant rapport_system to :"system";
alter role :"app" set client_connection_check_interval = '200ms';
alter role :"app" set statement_timeout = '5s';
alter role :"app" set lock_timeout = '2s';
alter role :"app" set idle_in_transaction_session_timeout = '10s';
alter role :"app" set random_page_cost = '1.1';
alter role :"system" set client_connection_check_interval = '200ms';
alter role :"system" set idle_in_transaction_session_timeout = '30s';
revoke connect on database :"service" from public;
grant connect on database :"service" to :"app", :"system";
