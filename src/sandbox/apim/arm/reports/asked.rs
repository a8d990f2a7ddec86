//! What a report's `$filter` selects.

use chrono::{DateTime, Utc};

use super::super::error::ArmError;
use super::super::odata::{Condition, Literal, Operator};
use super::super::page::Asked;
use super::{REGION, Subject};

/// The fields that a report can be filtered by, beside the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fields {
    /// Region, user, product, subscription.
    Common,
    /// API and operation too.
    All,
    /// API and operation too, but the subscription only by itself.
    AllButCombined,
}

/// The time and the equalities of a `$filter`.
#[derive(Debug)]
pub(super) struct Selection {
    /// Both ends count.
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    equal: Vec<(Field, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Region,
    User,
    Product,
    Subscription,
    Api,
    Operation,
}

impl Selection {
    /// Reads `$filter`, which must say from when; without an end it is `now`.
    pub(super) fn new(asked: &Asked, fields: Fields, now: DateTime<Utc>) -> Result<Self, ArmError> {
        let mut from = None;
        let mut to = now;
        let mut equal = Vec::new();
        for condition in asked.filter()? {
            match (
                condition.field.as_str(),
                condition.operator,
                &condition.value,
            ) {
                ("timestamp", Operator::Ge, Literal::Moment(moment)) => from = Some(*moment),
                ("timestamp", Operator::Le, Literal::Moment(moment)) => to = *moment,
                (_, Operator::Eq, Literal::Text(_)) => equal.push(equality(condition, fields)?),
                _ => return Err(unsupported(&condition.field)),
            }
        }
        let alone = equal.len() <= 1;
        let by_subscription = equal.iter().any(|(field, _)| *field == Field::Subscription);
        if fields == Fields::AllButCombined && by_subscription && !alone {
            return Err(unsupported("subscriptionId"));
        }
        let from = from.ok_or_else(|| {
            ArmError::validation("The $filter must contain 'timestamp ge datetime'...''.")
        })?;
        Ok(Self { from, to, equal })
    }

    pub(super) fn covers(&self, row: &Subject<'_>) -> bool {
        self.equal.iter().all(|(field, wanted)| {
            let found = match field {
                Field::Region => REGION,
                Field::User => row.user,
                Field::Product => row.product,
                Field::Subscription => row.subscription,
                Field::Api => row.api,
                Field::Operation => row.operation,
            };
            found == wanted
        })
    }
}

fn equality(condition: Condition, fields: Fields) -> Result<(Field, String), ArmError> {
    let field = match condition.field.as_str() {
        "apiRegion" => Field::Region,
        "userId" => Field::User,
        "productId" => Field::Product,
        "subscriptionId" => Field::Subscription,
        "apiId" if fields != Fields::Common => Field::Api,
        "operationId" if fields != Fields::Common => Field::Operation,
        _ => return Err(unsupported(&condition.field)),
    };
    match condition.value {
        Literal::Text(text) => Ok((field, text)),
        Literal::Moment(_) => Err(unsupported(&condition.field)),
    }
}

fn unsupported(field: &str) -> ArmError {
    ArmError::validation(format!(
        "This combination in $filter is not supported: '{field}'."
    ))
}
