//! Closes metered periods: claims the draft, waits, reports the final total, compares, finalizes.
//!
//! Stripe bills nothing that arrives after an invoice is finalized, and finalizes an hour after
//! the draft appears. So the draft is *claimed*: Stripe's own finalization is put off to the
//! backstop, but left on, so that a process that dies here leaves no draft behind for ever. Then:
//!
//! ```text
//! draft appears ──► claimed ──(last day ended + settle)──► days read again ──► final total
//!     reported ──► Stripe's meter equals ours, and the draft's lines do? ──► finalized
//!                                └── no: held, an alert, tried again until the backstop
//! ```
//!
//! A draft that Stripe finalized before it could be claimed, or known, takes the way of a claimed one
//! but for the report: its figures are kept once its days have settled, and `reconcile` says what it
//! lacks.
//!
//! A subscription that is `unpaid`, or whose collection is paused, leaves drafts on which Stripe's
//! own finalization is off. Their usage is reported like any other, and then they *wait*: to finalize
//! them would charge what is not to be charged, and a draft of nothing would count as paid. Once
//! the subscription is collected from again they go on, with their collection turned on.

use chrono::{DateTime, TimeDelta, Utc};

use super::compare::{self, Due};
use super::{Metering, MeteringError, Outages, evidence, stamp, window};
use crate::catalogue::price::{self, PriceShape};
use crate::config::Mode;
use crate::lifecycle::Status;
use crate::outbound::CallError;
use crate::store;
use crate::store::invoices::{Figures, Invoice, State};
use crate::store::orders::{self, Kind, Order};
use crate::store::subscriptions::{Period, Subscription};
use crate::store::{invoices, period, subscriptions, usage};
use crate::stripe::{self, InvoiceStatus};

/// How long a draft that was looked at is left alone: each look costs calls to both sides.
pub(super) const PAUSE: TimeDelta = TimeDelta::minutes(10);
/// How often a waiting draft is looked at; the worker wakes it when its subscription is paid up.
const WAITING_PAUSE: TimeDelta = TimeDelta::days(1);
/// How long an invoice is left alone whose report Stripe refuses. Each try takes a part of the hour that
/// is kept for such reports (see [`window::report_time`]): so there is room for two days of them.
const REFUSED_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Before the backstop, the final total is reported whether usage has settled or not.
const LEAD: TimeDelta = TimeDelta::hours(2);

/// Who turns a draft into an invoice that is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collection {
    /// Stripe by itself, at the backstop at the latest.
    Stripe,
    /// Nobody for now.
    Nobody,
    /// We, because Stripe was told not to and may again, or stopped when the subscription ended:
    /// what was used until then is owed all the same.
    Us,
}

/// What a pass over the open drafts did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Drafts that were claimed or finalized.
    pub moved: usize,
    pub held: usize,
    pub problems: Vec<String>,
}

impl Metering {
    /// Claims the drafts that are not claimed yet. Stripe grants an hour, so this comes before
    /// everything that takes long.
    pub fn claim_drafts(&self, now: DateTime<Utc>) -> Result<Closed, MeteringError> {
        if self.rules.mode == Mode::Shadow {
            return Ok(Closed::default());
        }
        let mut drafts = self.store.read(invoices::unfinished)?;
        drafts.retain(|draft| draft.state == State::Claiming);
        // Those that failed come last, so that they keep nobody else from the hour that Stripe grants.
        drafts.sort_by_key(|draft| draft.updated_at);
        self.move_on(drafts, now)
    }

    /// Moves every claimed draft on as far as `now` allows. One that fails does not stop the
    /// others, unless the other side seems to be down.
    pub fn close(&self, now: DateTime<Utc>) -> Result<Closed, MeteringError> {
        if self.rules.mode == Mode::Shadow {
            return self.watch_invoices(now);
        }
        let mut drafts = self.store.read(invoices::unfinished)?;
        drafts.retain(|draft| is_due(draft, now));
        self.move_on(drafts, now)
    }

    fn move_on(&self, drafts: Vec<Invoice>, now: DateTime<Utc>) -> Result<Closed, MeteringError> {
        let mut closed = Closed::default();
        let mut outages = Outages::default();
        for draft in drafts {
            let result = self.close_one(draft.clone(), now);
            outages.note(&result);
            match result {
                Ok(State::Held) => closed.held += 1,
                Ok(State::Claiming | State::Settling | State::Waiting | State::Finalized) => {
                    closed.moved += 1;
                }
                Err(error) => {
                    let problem = error.in_words();
                    tracing::warn!(invoice = %draft.id, %problem, "a draft could not be moved on");
                    closed.problems.push(format!("{}: {problem}", draft.id));
                    self.keep(in_trouble(draft, problem, now), now)?;
                }
            }
            if outages.are_too_many() {
                break;
            }
        }
        Ok(closed)
    }

    fn close_one(&self, invoice: Invoice, now: DateTime<Utc>) -> Result<State, MeteringError> {
        let Some(subscription) = self
            .store
            .read(|db| subscriptions::get(db, &invoice.subscription_id))?
        else {
            return self.keep(
                Invoice {
                    state: State::Finalized,
                    ..invoice
                },
                now,
            );
        };
        let fetched = match self.stripe.get_invoice(&invoice.id) {
            Err(error) if error.is_not_found() => return self.note_deletion(invoice, now),
            other => other?,
        };
        if fetched.status != Some(InvoiceStatus::Draft) {
            if invoice.state == State::Claiming {
                return self.wait_for_days(invoice, now);
            }
            if let Err(error) = self.reread(&subscription, invoice.period, now) {
                let problem = error.in_words();
                tracing::warn!(invoice = %invoice.id, %problem, "its days are kept as they are known");
            }
            return self.record_end(invoice, &subscription, &fetched, now);
        }
        match invoice.state {
            State::Claiming => self.claim(invoice, &fetched, &subscription, now),
            State::Settling | State::Waiting | State::Held | State::Finalized => {
                let collection = self.collection(&fetched, &subscription)?;
                self.finalize(invoice, &subscription, collection, now)
            }
        }
    }

    /// Puts Stripe's own finalization off to the backstop and leaves it on. A draft that is found
    /// only after its backstop cannot be put off any more: what it lacks is reported at once.
    ///
    /// The idempotency key is one for each run, because under a known key Stripe repeats even a
    /// 500 for a whole day; the same moment set twice is set once.
    fn claim(
        &self,
        invoice: Invoice,
        fetched: &stripe::Invoice,
        subscription: &Subscription,
        now: DateTime<Utc>,
    ) -> Result<State, MeteringError> {
        let collection = self.collection(fetched, subscription)?;
        if now < invoice.backstop_at && collection != Collection::Nobody {
            let key = format!("claim-{}-{}", invoice.id, stamp(now));
            self.stripe.update_invoice_finalization(
                &invoice.id,
                invoice.backstop_at,
                true,
                &key,
            )?;
        }
        let settled = self.usage_settles(&invoice);
        self.keep(
            Invoice {
                state: State::Settling,
                settles_at: settled.min(invoice.backstop_at - LEAD),
                problem: None,
                ..invoice
            },
            now,
        )
    }

    pub(super) fn usage_settles(&self, invoice: &Invoice) -> DateTime<Utc> {
        window::usage_ends(invoice.period) + self.rules.settle
    }

    pub(super) fn note_deletion(
        &self,
        invoice: Invoice,
        now: DateTime<Utc>,
    ) -> Result<State, MeteringError> {
        self.keep(
            Invoice {
                state: State::Finalized,
                problem: Some("The draft was deleted at Stripe.".to_owned()),
                ..invoice
            },
            now,
        )
    }

    /// Stripe was faster than we: what its invoice should have billed is known when the usage of its
    /// period has settled. It bills no more, so the claims of drafts do not wait for that.
    fn wait_for_days(&self, invoice: Invoice, now: DateTime<Utc>) -> Result<State, MeteringError> {
        let settles_at = self.usage_settles(&invoice);
        self.keep(
            Invoice {
                state: State::Settling,
                settles_at,
                problem: None,
                ..invoice
            },
            now,
        )
    }

    fn collection(
        &self,
        draft: &stripe::Invoice,
        subscription: &Subscription,
    ) -> Result<Collection, MeteringError> {
        if draft.auto_advance {
            return Ok(Collection::Stripe);
        }
        let seen = self.stripe.get_subscription(&subscription.id)?;
        let status = Status::parse(seen.status.as_str());
        let is_stopped = status == Status::Unpaid || seen.collection_pause.is_some();
        Ok(if status.is_live() && is_stopped {
            Collection::Nobody
        } else {
            Collection::Us
        })
    }

    /// The final total, the comparison, and the finalization.
    fn finalize(
        &self,
        invoice: Invoice,
        subscription: &Subscription,
        collection: Collection,
        now: DateTime<Utc>,
    ) -> Result<State, MeteringError> {
        let order = self.store.read(|db| orders::get(db, &invoice.id))?;
        if order.as_ref().map(|order| order.kind) == Some(Kind::Report) {
            self.forget_report(subscription, invoice.period, now)?;
        }
        let read = self.reread(subscription, invoice.period, now);
        // Should Azure stay silent until the backstop, Stripe bills at least what is known.
        let refused = self.push_or_refusal(subscription, invoice.period, now)?;
        let order = self.settle_report(order, &invoice)?;
        if order.is_none() {
            read?;
        }
        let ours = self.keep_days(&invoice, subscription, now)?;
        let invoice = Invoice {
            ours: Some(ours),
            ..invoice
        };
        if collection == Collection::Nobody {
            return self.keep(
                Invoice {
                    state: State::Waiting,
                    settles_at: now + WAITING_PAUSE,
                    problem: refused,
                    ..invoice
                },
                now,
            );
        }
        let is_refused = refused.is_some();
        let difference = match refused {
            Some(refused) => Some(refused),
            None => self.difference(&invoice, subscription, ours.calls)?,
        };
        let is_told = !is_refused && self.was_told_lately(subscription, invoice.period, now)?;
        if difference.is_some() && is_told {
            // Stripe counts a report a little after it has taken it.
            return self.keep(
                Invoice {
                    settles_at: now + PAUSE,
                    problem: None,
                    ..invoice
                },
                now,
            );
        }
        let problem = match (difference, order) {
            (None, _) => None,
            (Some(problem), Some(order)) => Some(format!(
                "{problem} Finalized all the same, as {} wished.",
                order.operator
            )),
            (Some(problem), None) => {
                tracing::error!(invoice = %invoice.id, %problem, "an invoice is held back");
                let settles_at = if is_refused {
                    now + REFUSED_PAUSE
                } else {
                    now + PAUSE
                };
                return self.keep(
                    Invoice {
                        state: State::Held,
                        settles_at,
                        problem: Some(problem),
                        ..invoice
                    },
                    now,
                );
            }
        };
        let key = format!("finalize-{}-{}", invoice.id, stamp(now));
        let collects = collection == Collection::Us;
        let fetched = self.stripe.finalize_invoice(&invoice.id, collects, &key)?;
        self.record_end(Invoice { problem, ..invoice }, subscription, &fetched, now)
    }

    /// Reports the period's total. A report that Stripe refuses holds the invoice like a difference:
    /// somebody has to mend the cause. The answer says why it was refused.
    fn push_or_refusal(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, MeteringError> {
        match self.push_total(subscription, period, now) {
            Err(error @ MeteringError::Call(CallError::Refused(_))) => Ok(Some(format!(
                "Stripe refuses the report of its usage: {}",
                error.in_words()
            ))),
            other => other.map(|_| None),
        }
    }

    /// Whether Stripe took the last report of this period so lately that its meter may not show it
    /// yet. By the store: the process that reported may have been another one.
    fn was_told_lately(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<bool, MeteringError> {
        let end = window::reports_end(period);
        let told = self
            .store
            .read(|db| usage::last_told(db, &subscription.id, period.start, end))?;
        let told_at = told.and_then(|told| told.at);
        Ok(told_at.is_some_and(|at| now - at < PAUSE))
    }

    /// The order that is left once the total is reported: to report it is carried out by that.
    fn settle_report(
        &self,
        order: Option<Order>,
        invoice: &Invoice,
    ) -> Result<Option<Order>, MeteringError> {
        let Some(Kind::Report) = order.as_ref().map(|order| order.kind) else {
            return Ok(order);
        };
        let id = invoice.id.clone();
        self.store.write(move |db| orders::settle(db, &id)).wait()?;
        Ok(None)
    }

    /// Reads those days of the period again that were last read before their usage had settled.
    pub(super) fn reread(
        &self,
        subscription: &Subscription,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<(), MeteringError> {
        let days = period.days(subscription.started_at);
        for day in days.start().iter_days().take_while(|day| day <= days.end()) {
            let settled = period::settled(day, self.rules.settle);
            let read_at = self.store.read(|db| usage::collected_at(db, day))?;
            if read_at.is_none_or(|read_at| read_at < settled) {
                self.collect_day(day, now)?;
            }
        }
        Ok(())
    }

    pub(super) fn our_figures(
        &self,
        subscription: &Subscription,
        calls: u64,
    ) -> Result<Figures, MeteringError> {
        let model = self.model(subscription)?;
        let bill = price::invoice(model, calls).map_err(|_| MeteringError::Amount(calls))?;
        Ok(Figures {
            calls,
            amount: bill.total.minor,
        })
    }

    /// In one sentence, where Stripe's meter or a line of the draft differs from ours.
    fn difference(
        &self,
        invoice: &Invoice,
        subscription: &Subscription,
        calls: u64,
    ) -> Result<Option<String>, MeteringError> {
        let Some((meter, customer)) = subscription
            .meter
            .as_ref()
            .zip(subscription.customer_id.as_ref())
        else {
            return Ok(None);
        };
        let Period { start, end } = invoice.period;
        let metered = self.metered(meter, customer, start, end)?;
        let draft = self.stripe.get_invoice(&invoice.id)?;
        let model = self.model(subscription)?;
        let lines = |calls| price::invoice(model, calls).ok().map(|bill| bill.lines);
        let due = Due {
            period: invoice.period,
            calls,
            lines: &lines,
            shape: PriceShape::of(&model.pricing),
        };
        Ok(compare::difference(&due, metered, &draft))
    }

    /// Keeps what Stripe billed beside what we say it should have.
    pub(super) fn record_end(
        &self,
        invoice: Invoice,
        subscription: &Subscription,
        fetched: &stripe::Invoice,
        now: DateTime<Utc>,
    ) -> Result<State, MeteringError> {
        let ours = self.kept_figures(&invoice, subscription, now)?;
        // The answer to the finalization lists ten lines at most, and a tier may take two.
        let is_cut_off = !fetched.lines_complete;
        let whole = is_cut_off.then(|| self.stripe.get_invoice(&invoice.id));
        let whole = whole.transpose()?;
        let fetched = whole.as_ref().unwrap_or(fetched);
        let amount = fetched.usage_amount();
        let quantity = fetched.usage_quantity();
        let stripes = Figures {
            calls: quantity.try_into().unwrap_or_default(),
            amount,
        };
        let is_waived = fetched.is_given_up() || fetched.is_final_from_the_start();
        let problem = (amount != ours.amount && !is_waived).then(|| {
            format!(
                "Stripe billed {amount} minor units for usage where the catalogue charges {}.",
                ours.amount
            )
        });
        let ended = Invoice {
            state: State::Finalized,
            ours: Some(ours),
            stripes: Some(stripes),
            hosted_invoice_url: fetched.hosted_invoice_url.clone(),
            // What went wrong on the way is of no interest where the end is as it should be.
            problem: invoice.problem.filter(|_| stripes != ours).or(problem),
            updated_at: now,
            ..invoice
        };
        let lines = evidence::lines(fetched);
        if !is_waived {
            self.weigh_ended_budget(subscription, (ended.period, ours.amount), now)?;
        }
        let change = self.store.write(move |db| {
            store::evidence::keep_lines(db, &ended.id, &lines)?;
            orders::settle(db, &ended.id)?;
            invoices::save(db, &ended)
        });
        change.wait()?;
        Ok(State::Finalized)
    }

    pub(super) fn keep(
        &self,
        invoice: Invoice,
        now: DateTime<Utc>,
    ) -> Result<State, MeteringError> {
        let state = invoice.state;
        let invoice = Invoice {
            updated_at: now,
            ..invoice
        };
        self.store
            .write(move |db| invoices::save(db, &invoice))
            .wait()?;
        Ok(state)
    }
}

/// The draft with what went wrong, to be looked at again after a pause. Only a claim does not
/// wait: Stripe grants it an hour.
fn in_trouble(draft: Invoice, problem: String, now: DateTime<Utc>) -> Invoice {
    let settles_at = match draft.state {
        State::Settling | State::Waiting | State::Held => now + PAUSE,
        State::Claiming | State::Finalized => draft.settles_at,
    };
    Invoice {
        settles_at,
        problem: Some(problem),
        ..draft
    }
}

fn is_due(invoice: &Invoice, now: DateTime<Utc>) -> bool {
    match invoice.state {
        // `claim_drafts` has just tried.
        State::Claiming | State::Finalized => false,
        State::Settling | State::Waiting | State::Held => now >= invoice.settles_at,
    }
}
