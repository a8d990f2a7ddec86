//! Signed events as Stripe sends them: pretty-printed JSON of about 3 kB.
//!
//! They are `charge.updated` events with the members, the member order and the indentation of
//! real ones. Ids, amounts, times, names and URLs differ from event to event and come from a
//! generator, so that they compress no better than real ones do. Ids of about the same time begin
//! alike, as Stripe's do. The worker has nothing to do for this type, so that only intake is
//! measured.

use std::time::SystemTime;

use ring::hmac;

/// What is different in each event.
struct Differences {
    state: u64,
}

impl Differences {
    /// The same for the same connection and number.
    fn of(connection: usize, number: usize) -> Self {
        let seed = (connection * 1_000_003 + number) as u64;
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        }
    }

    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn text(&mut self, length: usize) -> String {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let digit = |_| char::from(DIGITS[(self.next() % 62) as usize]);
        (0..length).map(digit).collect()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A request that delivers the event of this `connection` and `number`, signed with `secret`.
pub(crate) fn request(secret: &str, connection: usize, number: usize) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let body = body(connection, number, now);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let hex = signature
        .as_ref()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Stripe-Signature: t={now},v1={hex}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn body(connection: usize, number: usize, now: u64) -> String {
    let mut differ = Differences::of(connection, number);
    // Six digits tell the time, then come the account's, then what is the object's own.
    let mut id = move |prefix: &str| format!("{prefix}{number:06}LkdIwHu7{}", differ.text(10));
    let (event, charge, intent) = (id("evt_3S"), id("ch_3S"), id("pi_3S"));
    let (method, transaction, invoice) = (id("pm_1S"), id("txn_3S"), id("in_1S"));
    let mut differ = Differences::of(number, connection);
    let customer = differ.text(14);
    let (key, account) = (differ.text(36), differ.text(22));
    let receipt = differ.text(64);
    let amount = differ.below(90_000) + 100;
    let (name, risk, postal) = (
        differ.text(8),
        differ.below(65),
        differ.below(90_000) + 10_000,
    );
    let card = card(&mut differ, amount);
    format!(
        r#"{{
  "id": "{event}",
  "object": "event",
  "api_version": "2026-05-27.dahlia",
  "created": {now},
  "data": {{
    "object": {{
      "id": "{charge}",
      "object": "charge",
      "amount": {amount},
      "amount_captured": {amount},
      "amount_refunded": 0,
      "application": null,
      "application_fee": null,
      "application_fee_amount": null,
      "balance_transaction": "{transaction}",
      "billing_details": {{
        "address": {{
          "city": null,
          "country": "DE",
          "line1": null,
          "line2": null,
          "postal_code": "{postal}",
          "state": null
        }},
        "email": "{name}@example.com",
        "name": "{name}",
        "phone": null,
        "tax_id": null
      }},
      "calculated_statement_descriptor": "CONTOSO API",
      "captured": true,
      "created": {now},
      "currency": "eur",
      "customer": "cus_{customer}",
      "description": "Subscription update",
      "disputed": false,
      "failure_code": null,
      "failure_message": null,
      "invoice": "{invoice}",
      "livemode": true,
      "metadata": {{}},
      "outcome": {{
        "network_status": "approved_by_network",
        "reason": null,
        "risk_level": "normal",
        "risk_score": {risk},
        "seller_message": "Payment complete.",
        "type": "authorized"
      }},
      "paid": true,
      "payment_intent": "{intent}",
      "payment_method": "{method}",
      "payment_method_details": {{
{card}
        "type": "card"
      }},
      "receipt_email": null,
      "receipt_number": null,
      "receipt_url": "https://pay.stripe.com/receipts/invoices/{receipt}?s=ap",
      "refunded": false,
      "review": null,
      "source": null,
      "source_transfer": null,
      "statement_descriptor": null,
      "status": "succeeded",
      "transfer_data": null,
      "transfer_group": "acct_{account}"
    }},
    "previous_attributes": {{
      "balance_transaction": null,
      "receipt_url": null
    }}
  }},
  "livemode": true,
  "pending_webhooks": 1,
  "request": {{
    "id": null,
    "idempotency_key": "{key}"
  }},
  "type": "charge.updated"
}}"#
    )
}

/// How the charge's card looks in it.
fn card(differ: &mut Differences, amount: u64) -> String {
    let (fingerprint, last4) = (differ.text(16), differ.below(10_000));
    let (month, year) = (differ.below(12) + 1, differ.below(8) + 2027);
    let (network, code) = (differ.below(1_000_000_000_000_000), differ.below(1_000_000));
    format!(
        r#"        "card": {{
          "amount_authorized": {amount},
          "authorization_code": "{code:06}",
          "brand": "visa",
          "checks": {{
            "address_postal_code_check": "pass",
            "cvc_check": null
          }},
          "country": "DE",
          "exp_month": {month},
          "exp_year": {year},
          "fingerprint": "{fingerprint}",
          "funding": "credit",
          "installments": null,
          "last4": "{last4:04}",
          "network": "visa",
          "network_transaction_id": "{network:015}",
          "three_d_secure": null,
          "wallet": null
        }},"#
    )
}
