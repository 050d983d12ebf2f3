//! An application that sells answers and pays them from a credit pool. DATABASE_URL says where.
use std::{env, time::Duration};
use tokio_postgres::{Client, Error, NoTls, error::SqlState};

// Credits go in and out as text, and so stay exact: a numeric may have more digits than a float, or a rust_decimal.
const PROVISION: &str = "SELECT status FROM credit_pools.provision_subscription(customer_id => 'customer-demo-01',
    resource_id => 'workspace-example-com', plan_id => $1, idempotency_key => $2)";
const GRANT: &str = "SELECT balance::text FROM credit_pools.grant_credits(customer_id => 'customer-demo-01',
    resource_id => 'workspace-example-com', credit_type_id => 'ai-tokens', amount => $1::text::numeric, idempotency_key => $2)";
const REPORT: &str = "SELECT credits_consumed::text, balance::text, is_duplicate FROM credit_pools.report_usage(customer_id =>
    'customer-demo-01', resource_id => 'workspace-example-com', feature_id => $1, value => $2::bigint, idempotency_key => $3)";

async fn connect() -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(&env::var("DATABASE_URL").unwrap_or_default(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Does work again after a lost connection, as nobody knows whether it was committed. So what it writes must have keys: the
/// wallet answers one that it knows with the first result, and charges nothing.
async fn retry<T>(db: &mut Client, work: impl AsyncFn(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
    for tried in 1..4 {
        match work(db).await {
            Err(error) if transient(&error) => println!("try {tried} failed, again with the same keys"),
            done => return done,
        }
        tokio::time::sleep(Duration::from_millis(100 << tried)).await;
        connect().await.map(|client| *db = client).ok();
    }
    work(db).await
}

/// No SQLSTATE: the connection is gone. 08, 57P: the server is. 40: deadlock, serialization. It is no use to repeat the rest.
fn transient(error: &Error) -> bool {
    error.code().is_none_or(|code| ["08", "57P", "40"].iter().any(|class| code.code().starts_with(class)))
}

/// The application's own row and its price, both or neither. Returns the credits that are missing for it.
async fn answer(db: &mut Client, id: &str, tokens: i64, delivered: bool) -> Result<Option<String>, Error> {
    let charged = retry(db, async |db| {
        let work = db.transaction().await?;
        work.execute("INSERT INTO answer VALUES ($1, $2) ON CONFLICT DO NOTHING", &[&id, &tokens]).await?;
        let usage = work.query_one(REPORT, &[&"feature-ai-tokens", &tokens, &id]).await?;
        if delivered { work.commit().await } else { work.rollback().await }.map(|()| usage) // ROLLBACK is the refund
    });
    match charged.await {
        Ok(usage) if delivered => {
            let again = if usage.get("is_duplicate") { ", charged by an earlier try" } else { "" };
            println!("{id}: {} credits, {} left{again}", usage.get::<_, &str>(0), usage.get::<_, &str>(1));
        }
        Ok(_) => println!("{id}: the model did not answer, nothing was charged"),
        Err(error) if error.code().map(SqlState::code) == Some("PC004") => println!("{id}: charged with other figures"),
        Err(error) if error.code().map(SqlState::code) == Some("PC001") => {
            let told = error.as_db_error().and_then(|error| serde_json::from_str(error.detail()?).ok());
            let told: serde_json::Value = told.unwrap_or_default(); // with its feature arbitrary_precision exact, too
            println!("{id}: costs {}, {} left: buy {}?", told["required"], told["balance"], told["shortfall"]);
            return Ok(Some(told["shortfall"].to_string()));
        }
        Err(error) => return Err(error),
    }
    Ok(None)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let db = &mut connect().await?;
    retry(db, async |db| db.query_one(PROVISION, &[&"plan-basic", &"sign-up"]).await).await?;
    retry(db, async |db| db.query_one(GRANT, &[&"100", &"order-1"]).await).await?;
    retry(db, async |db| db.query_one(REPORT, &[&"feature-ai-tokens", &150_i64, &"chat-1"]).await).await?;
    answer(db, "answer-1", 200, true).await?;
    answer(db, "answer-1", 201, true).await?;
    answer(db, "answer-2", 300, false).await?;
    if let Some(missing) = answer(db, "answer-3", 1000, true).await? {
        retry(db, async |db| db.query_one(GRANT, &[&missing, &"top-up-answer-3"]).await).await?;
        answer(db, "answer-3", 1000, true).await?;
    }
    Ok(())
}
