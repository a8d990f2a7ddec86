//! The invoices of a subscription's periods and the days behind each, and those of the running period,
//! for its owner.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::Portal;
use super::session::SignedIn;
use super::subscriptions::period_in_words;
use super::views::invoices::{InvoicePage, InvoiceRow, days_page};
use crate::catalogue::evidence::Sheet;
use crate::catalogue::money::{Currency, Money, thousands};
use crate::ids::{InvoiceId, SubscriptionId};
use crate::store::evidence;
use crate::store::invoices::{self, Invoice, State as InvoiceState};
use crate::store::subscriptions::Subscription;
use crate::web::extract::Named;
use crate::web::{self, Failure, Now, not_found, page};

/// How many invoices the page of a subscription lists: two years of months.
const LISTED: usize = 24;

/// `GET /account/subscriptions/{id}/invoices/{invoice}`: the lines of an invoice and the days
/// behind them.
pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Path(ids): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (subscription, sheet) = portal.own_sheet(ids, &signed_in)?;
    let content = InvoicePage {
        subscription_id: &subscription.id,
        name: subscription.name.as_str(),
        sheet: &sheet,
    };
    let frame = portal.page("The days behind an invoice");
    Ok(page::html(content.render(&signed_in.viewer(), &frame)))
}

/// `GET /account/subscriptions/{id}/days`: the calls of the running period, day by day.
pub(super) async fn show_days(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Now(now): Now,
    Named(id): Named<SubscriptionId>,
) -> Result<Response, Failure> {
    let subscription = portal.own_subscription(&id, &signed_in)?;
    let model = portal.catalogue.get(&subscription.product_id);
    let classes = &model.ok_or_else(not_found)?.billable;
    let read = portal
        .store
        .read(|db| evidence::so_far(db, &subscription, classes, now));
    let so_far = read.map_err(Failure::internal)?.ok_or_else(not_found)?;
    let frame = portal.page("The days so far");
    Ok(page::html(days_page(&so_far, &signed_in.viewer(), &frame)))
}

/// `GET /account/subscriptions/{id}/invoices/{invoice}/days.csv`
pub(super) async fn download(
    State(portal): State<Arc<Portal>>,
    signed_in: SignedIn,
    Path(ids): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (_, sheet) = portal.own_sheet(ids, &signed_in)?;
    if sheet.kept_at.is_none() {
        return Err(not_found());
    }
    Ok(web::evidence::download(&sheet))
}

impl Portal {
    /// What stands behind a final invoice of this user. Somebody else's is not found.
    fn own_sheet(
        &self,
        (id, invoice): (String, String),
        signed_in: &SignedIn,
    ) -> Result<(Subscription, Sheet), Failure> {
        let id = SubscriptionId::try_from(id).map_err(|_| not_found())?;
        let invoice = InvoiceId::try_from(invoice).map_err(|_| not_found())?;
        let subscription = self.own_subscription(&id, signed_in)?;
        let sheet = self.store.read(|db| evidence::sheet(db, invoice.as_str()));
        let sheet = sheet.map_err(Failure::internal)?;
        let own = sheet.filter(|sheet| sheet.is_final && sheet.subscription_id == subscription.id);
        Ok((subscription, own.ok_or_else(not_found)?))
    }

    /// The invoices of a subscription, the newest first.
    pub(super) fn invoice_rows(
        &self,
        subscription: &Subscription,
    ) -> Result<Vec<InvoiceRow>, Failure> {
        let found = self
            .store
            .read(|db| invoices::of_subscription(db, &subscription.id));
        let found = found.map_err(Failure::internal)?;
        Ok(found.iter().take(LISTED).map(row).collect())
    }
}

fn row(invoice: &Invoice) -> InvoiceRow {
    let currency = invoice.currency.as_deref().and_then(Currency::parse);
    let final_figures = currency.zip(invoice.stripes);
    let final_figures = final_figures.filter(|_| invoice.state == InvoiceState::Finalized);
    InvoiceRow {
        id: invoice.id.clone(),
        period: period_in_words(invoice.period),
        billed: final_figures.map(|(currency, figures)| {
            let minor = figures.amount;
            (
                Money { currency, minor }.to_string(),
                thousands(figures.calls),
            )
        }),
    }
}
