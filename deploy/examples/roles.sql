-- What the roles of a service need and no operator sets: limits that end what nobody waits for any more, and a closed
-- door. Run once as a superuser, after the roles and the database are there:
--   psql ADDRESS --set service=identity --file deploy/examples/roles.sql
\set app :service _app
\set system :service _system
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
