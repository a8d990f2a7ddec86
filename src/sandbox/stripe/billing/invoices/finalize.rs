//! Finalization: a draft gets its number, its amounts stand, and it is paid, carried over or open.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{collect, draft, shape};
use crate::sandbox::stripe::account::Account;
use crate::sandbox::stripe::error::StripeError;

/// Finalizes a draft; an invoice that asks for no money is paid at once. Nothing is charged here:
/// see [`collect::advance`].
pub(crate) fn finalize(
    account: &mut Account,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(), StripeError> {
    if account
        .get(id)
        .is_none_or(|invoice| invoice["status"] != "draft")
    {
        let message =
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.";
        return Err(StripeError::invalid(message).code("invoice_not_editable"));
    }
    draft::refresh(account, id, now);
    let balance = apply_balance(account, id);
    let number = next_number(account, id);
    let base = account.addresses.stripe.clone();
    let finalized = account.update(id, "invoice.updated", |invoice| {
        invoice["status"] = "open".into();
        invoice["number"] = number.into();
        invoice["automatically_finalizes_at"] = Value::Null;
        invoice["effective_at"] = now.timestamp().into();
        invoice["status_transitions"]["finalized_at"] = now.timestamp().into();
        invoice["hosted_invoice_url"] = format!("{base}/i/acct_sandbox/{id}").into();
        invoice["invoice_pdf"] = format!("{base}/i/acct_sandbox/{id}/pdf").into();
        invoice["ending_balance"] = balance.ending.into();
        if invoice["collection_method"] == "send_invoice" {
            let days = invoice["_days_until_due"].as_i64().unwrap_or_default();
            invoice["due_date"] = (now + TimeDelta::days(days)).timestamp().into();
        }
        for member in ["amount_due", "amount_remaining"] {
            invoice[member] = balance.amount_due.into();
        }
    });
    account.emit("invoice.finalized", &finalized, None);
    if balance.amount_due == 0 {
        collect::mark_paid(account, id, now);
    }
    Ok(())
}

/// What is due now, and what the customer's balance is afterwards: positive when the customer
/// owes something that the next invoice adds, negative for a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Balance {
    amount_due: i64,
    ending: i64,
}

/// Credits are used up first; what is owed but too little to be charged is carried over.
fn balanced(total: i64, starting: i64, minimum: i64) -> Balance {
    let due = total.saturating_add(starting);
    if due >= minimum {
        Balance {
            amount_due: due,
            ending: 0,
        }
    } else {
        Balance {
            amount_due: 0,
            ending: due,
        }
    }
}

fn apply_balance(account: &mut Account, id: &str) -> Balance {
    let invoice = account.get(id).cloned().unwrap_or_default();
    let customer = invoice["customer"].as_str().unwrap_or_default().to_owned();
    let starting = account
        .get(&customer)
        .and_then(|customer| customer["balance"].as_i64())
        .unwrap_or_default();
    let total = invoice["total"].as_i64().unwrap_or_default();
    let minimum = minimum_charge(invoice["currency"].as_str().unwrap_or_default());
    let balance = balanced(total, starting, minimum);
    if let Some(invoice) = account.get_mut(id) {
        invoice["starting_balance"] = starting.into();
        shape::total_up(invoice);
    }
    if account.get(&customer).is_some() {
        account.update(&customer, "customer.updated", |customer| {
            customer["balance"] = balance.ending.into();
        });
    }
    balance
}

/// The least that can be charged, in minor units:
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>.
fn minimum_charge(currency: &str) -> i64 {
    match currency {
        "gbp" => 30,
        "dkk" => 250,
        "nok" | "sek" => 300,
        "hkd" => 400,
        "mxn" => 1000,
        "czk" => 1500,
        "huf" => 17_500,
        "pln" | "aed" | "myr" | "ron" | "bgn" => 200,
        _ => 50,
    }
}

/// `PREFIX-0001`: the customer's prefix and a count.
fn next_number(account: &mut Account, id: &str) -> String {
    let customer = account
        .get(id)
        .and_then(|invoice| invoice["customer"].as_str())
        .unwrap_or_default()
        .to_owned();
    let Some(customer) = account.get_mut(&customer) else {
        return id.to_uppercase();
    };
    let sequence = customer["next_invoice_sequence"].as_i64().unwrap_or(1);
    customer["next_invoice_sequence"] = (sequence + 1).into();
    let prefix = customer["invoice_prefix"].as_str().unwrap_or("SANDBOX");
    format!("{prefix}-{sequence:04}")
}

#[cfg(test)]
mod tests {
    use super::{Balance, balanced};

    fn check(total: i64, starting: i64, amount_due: i64, ending: i64) {
        assert_eq!(
            balanced(total, starting, 50),
            Balance { amount_due, ending }
        );
    }

    #[test]
    fn an_ordinary_invoice_is_due_in_full() {
        check(1495, 0, 1495, 0);
        check(50, 0, 50, 0);
    }

    #[test]
    fn less_than_the_minimum_charge_is_carried_to_the_next_invoice() {
        check(49, 0, 0, 49);
        check(30, 49, 79, 0);
    }

    #[test]
    fn a_credit_is_used_up_before_anything_is_charged() {
        check(1000, -400, 600, 0);
        check(1000, -1500, 0, -500);
        check(-200, 0, 0, -200);
        check(0, 0, 0, 0);
    }
}
