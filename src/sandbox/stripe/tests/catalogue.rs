//! Products, prices and meters.

use super::Trial;

async fn meter(trial: &Trial, event_name: &str) -> String {
    let form =
        format!("display_name=Calls&event_name={event_name}&default_aggregation[formula]=last");
    Trial::id_of(trial.post("/v1/billing/meters", &form).await)
}

#[tokio::test]
async fn a_metered_price_names_an_active_meter_and_keeps_it() {
    let trial = Trial::new();
    let meter = meter(&trial, "calls").await;
    let form = "product_data[name]=A&currency=USD&unit_amount_decimal=0.15\
                &recurring[interval]=month&recurring[usage_type]=metered";
    let without = trial.post("/v1/prices", form).await;
    assert_eq!(
        without.refusal(),
        (400, "parameter_missing", "recurring[meter]")
    );
    let form = format!("{form}&recurring[meter]={meter}");
    let price = trial.post("/v1/prices", &form).await.ok();
    assert_eq!(price["currency"], "usd");
    assert_eq!(price["recurring"]["meter"], meter.as_str());
    assert_eq!(
        (&price["unit_amount"], price["unit_amount_decimal"].as_str()),
        (&serde_json::Value::Null, Some("0.15"))
    );
    let path = format!("/v1/billing/meters/{meter}/deactivate");
    assert_eq!(trial.post(&path, "").await.ok()["status"], "inactive");
    assert_eq!(
        trial.post("/v1/prices", &form).await.refusal().1,
        "archived_meter"
    );
}

#[tokio::test]
async fn amounts_cannot_be_changed() {
    let trial = Trial::new();
    let form = "product_data[name]=A&currency=usd&unit_amount=100";
    let price = Trial::id_of(trial.post("/v1/prices", form).await);
    let path = format!("/v1/prices/{price}");
    let refused = trial.post(&path, "unit_amount=200").await;
    assert_eq!(refused.refusal(), (400, "parameter_unknown", "unit_amount"));
    let renamed = trial.post(&path, "nickname=N&active=false").await.ok();
    assert_eq!(
        (&renamed["nickname"], &renamed["active"]),
        (&"N".into(), &false.into())
    );
}

#[tokio::test]
async fn a_lookup_key_moves_only_on_request() {
    let trial = Trial::new();
    let form = "product_data[name]=A&currency=usd&unit_amount=100&lookup_key=basic";
    let first = Trial::id_of(trial.post("/v1/prices", form).await);
    assert_eq!(
        trial.post("/v1/prices", form).await.refusal().2,
        "lookup_key"
    );
    let form = format!("{form}&transfer_lookup_key=true");
    let second = Trial::id_of(trial.post("/v1/prices", &form).await);
    let path = "/v1/prices?lookup_keys[]=basic";
    let listed = trial.get(path).await.ok()["data"].clone();
    assert_eq!(
        (listed.as_array().unwrap().len(), listed[0]["id"].as_str()),
        (1, Some(&*second))
    );
    let first = trial.get(&format!("/v1/prices/{first}")).await.ok();
    assert!(first["lookup_key"].is_null());
}

#[tokio::test]
async fn a_product_with_prices_stays() {
    let trial = Trial::new();
    trial
        .post(
            "/v1/products",
            "id=prod_1&name=A&metadata[a]=1&metadata[b]=2",
        )
        .await
        .ok();
    let taken = trial.post("/v1/products", "id=prod_1&name=A").await;
    assert_eq!(taken.refusal().1, "resource_already_exists");
    let form = "name=B&metadata[a]=&metadata[c]=3&description=";
    let updated = trial.post("/v1/products/prod_1", form).await.ok();
    assert_eq!(updated["metadata"], serde_json::json!({"b": "2", "c": "3"}));
    let form = "product=prod_1&currency=usd&unit_amount=100";
    trial.post("/v1/prices", form).await.ok();
    assert_eq!(trial.delete("/v1/products/prod_1").await.status, 400);
    trial.post("/v1/products", "id=prod_2&name=C").await.ok();
    assert_eq!(
        trial.delete("/v1/products/prod_2").await.ok()["deleted"],
        true
    );
    assert_eq!(trial.get("/v1/products/prod_2").await.status, 404);
}

#[tokio::test]
async fn an_event_name_feeds_one_active_meter() {
    let trial = Trial::new();
    let first = meter(&trial, "calls").await;
    let form = "display_name=B&event_name=calls&default_aggregation[formula]=sum";
    assert_eq!(
        trial.post("/v1/billing/meters", form).await.refusal().2,
        "event_name"
    );
    trial
        .post(&format!("/v1/billing/meters/{first}/deactivate"), "")
        .await
        .ok();
    trial.post("/v1/billing/meters", form).await.ok();
    let path = format!("/v1/billing/meters/{first}/reactivate");
    assert_eq!(trial.post(&path, "").await.status, 400);
    let path = format!("/v1/billing/meters/{first}");
    let refused = trial.post(&path, "event_name=other").await;
    assert_eq!(refused.refusal().1, "parameter_unknown");
    assert_eq!(
        trial.post(&path, "display_name=C").await.ok()["display_name"],
        "C"
    );
}
