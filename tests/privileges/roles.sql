-- A role of each level, and tenants of every kind. All of them can log in and nothing else.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE ROLE credit_pools_test_admin LOGIN;
CREATE ROLE credit_pools_test_app LOGIN;
CREATE ROLE credit_pools_test_meter LOGIN;
CREATE ROLE credit_pools_test_reader LOGIN;
CREATE ROLE credit_pools_test_customer LOGIN;
CREATE ROLE credit_pools_test_resource LOGIN;
CREATE ROLE credit_pools_test_two LOGIN;
CREATE ROLE credit_pools_test_zeta LOGIN;
CREATE ROLE credit_pools_test_odd LOGIN;
CREATE ROLE credit_pools_test_none LOGIN;
CREATE ROLE credit_pools_test_spare;
-- A member that inherits, one that has to SET ROLE, and a login that becomes whoever asks.
CREATE ROLE credit_pools_test_heir LOGIN INHERIT IN ROLE credit_pools_test_customer;
CREATE ROLE credit_pools_test_switch LOGIN NOINHERIT IN ROLE credit_pools_test_customer;
CREATE ROLE credit_pools_test_authenticator LOGIN NOINHERIT IN ROLE credit_pools_test_customer, credit_pools_test_zeta, credit_pools_test_app, credit_pools_test_reader;
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_admin', level => 'admin');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_app', level => 'app');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_meter', level => 'meter');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_reader', level => 'reader');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_customer', level => 'tenant', customer_id => 'acme');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_resource', level => 'tenant', customer_id => 'acme', resource_id => 'ws1');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_two', level => 'tenant', customer_id => 'acme');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_two', level => 'tenant', customer_id => 'zeta', resource_id => 'ws2');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_zeta', level => 'tenant', customer_id => 'zeta');
SELECT FROM credit_pools.grant_access(role_name => 'credit_pools_test_odd', level => 'tenant', customer_id => 'it''s "odd"; --');
-- What may be granted without a level: the use of the schema alone gives nothing.
GRANT USAGE ON SCHEMA credit_pools TO credit_pools_test_none;
