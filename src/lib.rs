//! credit_pools: a credit wallet inside PostgreSQL, one isolated pool per customer resource.
//!
//! `api` is what SQL calls, `engine` what a call does, `store` its SQL, and the crate
//! `credit_pools_domain` the rules.

use pgrx::prelude::*;

mod api;
mod clock;
mod engine;
mod error;
mod progress;
mod settings;
mod store;
mod worker;

::pgrx::pg_module_magic!();

extension_sql_file!("../sql/schema/10_catalogue.sql", name = "catalogue", bootstrap);
extension_sql_file!("../sql/schema/20_customers.sql", name = "customers", requires = ["catalogue"]);
extension_sql_file!("../sql/schema/30_pools.sql", name = "pools", requires = ["customers"]);
extension_sql_file!("../sql/schema/35_archive.sql", name = "archive", requires = ["pools"]);
extension_sql_file!("../sql/schema/40_recharge.sql", name = "recharge", requires = ["archive"]);
extension_sql_file!("../sql/schema/45_events.sql", name = "events", requires = ["recharge"]);
extension_sql_file!("../sql/schema/46_rollups.sql", name = "rollups", requires = ["events"]);
extension_sql_file!(
    "../sql/schema/50_guards.sql",
    name = "guards",
    requires = [
        "events",
        api::triggers::catalogue_changed,
        api::triggers::evaluate_recharge,
        api::triggers::refuse_ledger_change,
        api::triggers::set_event_horizon
    ]
);
extension_sql_file!(
    "../sql/schema/55_access.sql",
    name = "access_tables",
    requires = ["rollups", api::access::reads_all_customers, api::access::reads_own_customers]
);
extension_sql_file!(
    "../sql/schema/60_views.sql",
    name = "views",
    requires = [
        "access_tables",
        clock::clock,
        api::events::next_transaction_id,
        api::limits::limit_window,
        api::reads::pool_now,
        api::reads::grants_now
    ]
);
extension_sql_file!("../sql/schema/62_page.sql", name = "page", requires = ["catalogue"]);
extension_sql_file!(
    "../sql/schema/61_overviews.sql",
    name = "overviews",
    requires = ["views", api::subscriptions::subscription_period]
);
extension_sql_file!(
    "../sql/schema/65_maintenance.sql",
    name = "maintenance",
    requires = ["pools", api::maintenance::run_maintenance]
);
extension_sql_file!(
    "../sql/schema/66_archiving.sql",
    name = "archiving",
    requires = ["archive", api::archive::archive_ledger]
);
extension_sql_file!(
    "../sql/schema/67_metering.sql",
    name = "metering",
    requires =
        ["pools", api::metering::check_metering, api::metering::metering_trigger, api::metering::charge_inserted]
);
extension_sql_file!("../sql/schema/68_access.sql", name = "access", requires = ["overviews"]);
extension_sql_file!("../sql/schema/70_dump.sql", name = "dump", requires = ["access"]);
extension_sql_file!("../sql/schema/80_comments.sql", name = "comments", requires = ["access"]);
extension_sql_file!("../sql/schema/90_functions.sql", name = "functions", finalize);

#[pg_guard]
extern "C-unwind" fn _PG_init() {
    settings::register();
    store::cache::register();
    worker::register();
}
