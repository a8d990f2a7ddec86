//! What an event is about. Pure.

use crate::stripe::METER_ERROR_EVENTS;

/// The thing at Stripe that an event tells us to look at again. What the event says of it is not
/// believed: events come late, twice and out of order.
///
/// In the order in which they are looked at: a draft invoice has to be claimed within the hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Invoice(String),
    CheckoutSession(String),
    Subscription(String),
    Dispute(String),
    /// Of which something was refunded.
    Charge(String),
    Refund(String),
    /// Usage reports that Stripe could not count. It tells which only in the event itself.
    MeterErrors(String),
    /// Nothing that this program acts on, and why.
    None(&'static str),
}

impl Subject {
    pub(super) fn of(event_id: &str, event_type: &str, object_id: &str) -> Self {
        let tells_itself = METER_ERROR_EVENTS.contains(&event_type);
        let object_id = if tells_itself { event_id } else { object_id };
        let id = object_id.to_owned();
        let subject = match event_type
            .rsplit_once('.')
            .map_or(event_type, |(family, _)| family)
        {
            "customer.subscription" => Self::Subscription(id),
            "checkout.session" => Self::CheckoutSession(id),
            "invoice" => Self::Invoice(id),
            "charge.dispute" => Self::Dispute(id),
            "charge" if event_type == "charge.refunded" => Self::Charge(id),
            "refund" => Self::Refund(id),
            "v1.billing.meter" if tells_itself => Self::MeterErrors(id),
            _ => return Self::None("Nothing here acts on this type of event."),
        };
        if is_id(object_id) {
            subject
        } else {
            Self::None("The event does not say which object it is about.")
        }
    }
}

/// Whether this can be the id of an object. It becomes part of an address, so nothing else may.
fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn what_can_be_no_id_names_nothing() {
        for text in ["", "../customers", "sub 1", "sub_1?expand=x", "sub_é"] {
            let subject = Subject::of("evt_1", "customer.subscription.updated", text);
            assert!(matches!(subject, Subject::None(_)), "{text:?}");
        }
    }

    #[test]
    fn the_family_of_the_event_names_the_subject() {
        let subject = |event_type: &str| Subject::of("evt_1", event_type, "x_1");
        assert_eq!(
            subject("customer.subscription.deleted"),
            Subject::Subscription("x_1".into())
        );
        assert_eq!(
            subject("checkout.session.completed"),
            Subject::CheckoutSession("x_1".into())
        );
        assert_eq!(
            subject("invoice.payment_failed"),
            Subject::Invoice("x_1".into())
        );
        assert_eq!(
            subject("charge.dispute.closed"),
            Subject::Dispute("x_1".into())
        );
        assert_eq!(subject("charge.refunded"), Subject::Charge("x_1".into()));
        assert_eq!(subject("refund.failed"), Subject::Refund("x_1".into()));
        for about_reports in ["error_report_triggered", "no_meter_found"] {
            assert_eq!(
                subject(&format!("v1.billing.meter.{about_reports}")),
                Subject::MeterErrors("evt_1".into())
            );
        }
        for not_acted_on in [
            "v1.billing.meter.created",
            "charge.succeeded",
            "customer.created",
            "customer.subscription.pending_update.applied",
        ] {
            assert!(
                matches!(subject(not_acted_on), Subject::None(_)),
                "{not_acted_on}"
            );
        }
    }
}
