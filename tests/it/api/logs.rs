//! What is written to the log: that something happened, never what a customer bought.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{App, row, with};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_names_requests_and_causes_but_no_descriptor_amount_or_account() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("txcat=trace,sqlx=debug")
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For the whole process: what a callsite is asked first, on whichever thread, counts for all. Other
    // tests write here too; none of them says the words looked for.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let app = App::start().await;
    let private = json!({ "amount": "90817263.45", "account_id": "acc-private", "counterparty": "Private Person" });
    for (id, text) in [("id-private-1", "PRIVATE SHOP"), ("id-private-2", "PRIVATE ENGINE FAILS")] {
        let rows =
            json!({ "transactions": [with(row(id, text), private.clone()), json!({ "descriptor": "PRIVATE" })] });
        app.send(app.request("POST", "/v1/transactions").header("x-request-id", "req-1").json(&rows)).await;
    }
    app.get("/v1/transactions?account_id=acc-private").await.with(200);
    let correction = json!({ "category": "coffee_shop", "scope": "account_merchant", "note": "private note" });
    app.post("/v1/transactions/id-private-1/correction", &correction).await.with(200);

    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("req-1") && written.contains("/v1/transactions/{id}/correction"), "{written}");
    assert!(written.contains("engine `scripted@1` answered 0 of 1 rows"), "the cause is logged: {written}");
    for private in ["private", "PRIVATE", "Private", "90817263"] {
        let line = written.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "the log tells `{private}`");
    }
}
