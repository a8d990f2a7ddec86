//! Customers.

use std::collections::BTreeMap;

use serde::Deserialize;
use stripe_core::customer::{CreateCustomer, ListCustomer, RetrieveCustomer};

use super::Stripe;
use super::page::{Listed, PAGE_SIZE};
use super::setup::pairs;
use crate::outbound::CallError;

/// A customer to create.
#[derive(Debug, Clone)]
pub struct NewCustomer {
    /// Absent where nobody is to see it on the payment page; Stripe asks for one there.
    pub email: Option<String>,
    pub name: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

/// A customer, as far as we use it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Customer {
    pub id: String,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Stripe keeps answering for a deleted customer, with little more than this.
    #[serde(default)]
    pub deleted: bool,
}

impl Listed for Customer {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Stripe {
    /// All customers of the account that were not deleted.
    pub fn list_customers(&self) -> Result<Vec<Customer>, CallError> {
        const OPERATION: &str = "list the customers";
        self.transport.all(OPERATION, |after| {
            let mut request = ListCustomer::new().limit(PAGE_SIZE);
            if let Some(after) = after {
                request = request.starting_after(after);
            }
            self.transport.get(OPERATION, &request)
        })
    }

    pub fn create_customer(&self, new: &NewCustomer, key: &str) -> Result<Customer, CallError> {
        let mut request = CreateCustomer::new().metadata(pairs(&new.metadata));
        if let Some(email) = &new.email {
            request = request.email(email.as_str());
        }
        if let Some(name) = &new.name {
            request = request.name(name.as_str());
        }
        self.transport.post("create the customer", &request, key)
    }

    pub fn get_customer(&self, id: &str) -> Result<Customer, CallError> {
        let operation = format!("read the customer `{id}`");
        self.transport.get(&operation, &RetrieveCustomer::new(id))
    }
}
