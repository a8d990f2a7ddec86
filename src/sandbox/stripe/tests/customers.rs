//! Customers, test clocks and events.

use super::{Trial, start};

#[tokio::test]
async fn a_deleted_customer_leaves_a_stub() {
    let trial = Trial::new();
    let form = "email=a@example.com&metadata[apim_user]=u1";
    let customer = trial.post("/v1/customers", form).await.ok();
    let id = customer["id"].as_str().unwrap();
    assert!(id.starts_with("cus_") && id.len() == 18, "{id}");
    let path = format!("/v1/customers/{id}");
    assert_eq!(trial.delete(&path).await.ok()["deleted"], true);
    assert_eq!(trial.get(&path).await.ok()["deleted"], true);
    assert_eq!(trial.post(&path, "name=B").await.status, 404);
    let listed = trial.get("/v1/customers").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn customers_are_found_by_email_and_checked() {
    let trial = Trial::new();
    trial
        .post("/v1/customers", "email=a@example.com")
        .await
        .ok();
    trial
        .post("/v1/customers", "email=b@example.com")
        .await
        .ok();
    let listed = trial.get("/v1/customers?email=a@example.com").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let refused = trial.post("/v1/customers", "email=nobody").await;
    assert_eq!(refused.refusal(), (400, "email_invalid", "email"));
}

#[tokio::test]
async fn a_test_clock_holds_the_time_of_its_customers() {
    let trial = Trial::new();
    let at = start().timestamp();
    let clock = Trial::id_of(
        trial
            .post("/v1/test_helpers/test_clocks", &format!("frozen_time={at}"))
            .await,
    );
    let form = format!("test_clock={clock}");
    let customer = Trial::id_of(trial.post("/v1/customers", &form).await);
    let path = format!("/v1/test_helpers/test_clocks/{clock}");
    let target = at + 86_400;
    let advance = format!("frozen_time={target}");
    let advancing = trial.post(&format!("{path}/advance"), &advance).await.ok();
    assert_eq!(advancing["status"], "advancing");
    assert_eq!(trial.stripe.account().now_for(&customer), start());
    for (query, count) in [(String::new(), 0), (format!("?{form}"), 1)] {
        let listed = trial.get(&format!("/v1/customers{query}")).await.ok();
        assert_eq!(listed["data"].as_array().unwrap().len(), count, "{query}");
    }
    assert!(trial.stripe.has_due());
    trial.stripe.run_due().await;
    let ready = trial.get(&path).await.ok();
    assert_eq!(
        (&ready["status"], &ready["frozen_time"]),
        (&"ready".into(), &target.into())
    );
    assert_eq!(
        trial.stripe.account().now_for(&customer).timestamp(),
        target
    );
    assert_eq!(
        trial
            .post(&format!("{path}/advance"), &advance)
            .await
            .status,
        400
    );
    trial.delete(&path).await.ok();
    assert_eq!(
        trial.get(&format!("/v1/customers/{customer}")).await.status,
        404
    );
}

#[tokio::test]
async fn events_tell_what_changed_and_are_filtered_by_type() {
    let trial = Trial::new();
    let customer = Trial::id_of(trial.post("/v1/customers", "name=A").await);
    let path = format!("/v1/customers/{customer}");
    trial.post(&path, "name=B&metadata[k]=v").await.ok();
    trial.post(&path, "name=B").await.ok();
    trial.post("/v1/products", "name=P").await.ok();
    let listed = trial.get("/v1/events?type=customer.*").await.ok();
    let types: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(
        types,
        ["customer.updated", "customer.created"],
        "the last update changed nothing"
    );
    let updated = &listed["data"][0];
    assert_eq!(updated["data"]["object"]["name"], "B");
    assert_eq!(
        updated["data"]["previous_attributes"],
        serde_json::json!({"metadata": {"k": null}, "name": "A"})
    );
    let path = "/v1/events?types[]=product.created&types[]=price.created";
    assert_eq!(
        trial.get(path).await.ok()["data"][0]["type"],
        "product.created"
    );
    trial
        .clock
        .advance_to(start() + chrono::TimeDelta::days(31));
    assert_eq!(
        trial.get("/v1/events").await.ok()["data"],
        serde_json::json!([])
    );
}
