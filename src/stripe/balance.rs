//! A customer's balance: what is added to the next invoice, or taken from it
//! (<https://docs.stripe.com/billing/customer/balance>).

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use stripe_core::customer_balance_transaction::{
    CreateCustomerCustomerBalanceTransaction, ListCustomerCustomerBalanceTransaction,
};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE};
use crate::catalogue::money::Money;
use crate::outbound::CallError;

/// The member of the metadata that names the reason of ours.
const REASON: &str = "tollhouse_correction";

/// A change of a balance, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BalanceChange {
    pub id: String,
    /// In minor units; negative where it is given back.
    pub amount: i64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl BalanceChange {
    /// The reason of ours that it was made for, if it was.
    pub fn reason(&self) -> Option<&str> {
        self.metadata.get(REASON).map(String::as_str)
    }
}

impl Listed for BalanceChange {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// Has the customer's next invoice be `by` more, or less where it is negative. `reason` is unique
    /// and stands in the metadata; the answer is the change's id.
    pub fn change_balance(
        &self,
        customer: &str,
        by: Money,
        reason: &str,
        description: &str,
        key: &str,
    ) -> Result<String, CallError> {
        let operation = format!("change the balance of the customer `{customer}`");
        let Ok(currency): Result<stripe_types::Currency, _> = by.currency.code().parse();
        let request = CreateCustomerCustomerBalanceTransaction::new(customer, by.minor, currency)
            .description(description)
            .metadata(HashMap::from([(REASON.to_owned(), reason.to_owned())]));
        let made: BalanceChange = self.transport.post(&operation, &request, key)?;
        Ok(made.id)
    }

    /// All changes of a customer's balance, whoever made them.
    pub fn list_balance_changes(&self, customer: &str) -> Result<Vec<BalanceChange>, CallError> {
        let operation = format!("list the changes of the balance of `{customer}`");
        self.transport.all(&operation, |after| {
            let mut request =
                ListCustomerCustomerBalanceTransaction::new(customer).limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(&operation, &request)
        })
    }
}
