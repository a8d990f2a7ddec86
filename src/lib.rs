//! Tollhouse turns Azure API Management into a paid API business on Stripe: this is the map of its
//! code.
//!
//! # Modules and the direction of imports
//!
//! Each row may use the rows above it and nothing beside or below; a test reads the `use` lines and
//! proves it (`tests/tidy/imports.rs`, where the table is exact).
//!
//! | row | modules | what they are |
//! |---|---|---|
//! | names | [`ids`], [`secret`], [`nearest`] | checked names, values that are never printed, *did you mean* |
//! | pure | [`config`], [`catalogue`], [`lifecycle`] | settings, products and prices, who has access; no effects beyond reading the settings |
//! | transport | [`outbound`] | the one HTTP client: *refused* and *nobody knows* are different errors |
//! | adapters | [`store`], [`stripe`], [`apim`] | SQLite, Stripe, Azure; they do not know each other |
//! | shell | [`web`] | what each page needs: frame, errors, cookies, limits |
//! | features | [`portal`], [`webhook`], [`metering`], [`mail`], [`users`], [`sync`], [`admin`] | they do not know each other and meet only in the store |
//! | whole | [`app`] | builds and wires everything; holds the clock |
//! | outside | [`sandbox`] | stands for Stripe and Azure; imports none of the above |
//!
//! `main` has the commands, a file each in `src/commands`. Effects are at the edge: what is decided
//! is decided by pure functions ([`lifecycle::decide`], [`catalogue::price::invoice`],
//! [`catalogue::estimate`], [`sync::plan::plan`], [`metering::window`]), whose callers fetch before and act after.
//!
//! # The way of a purchase
//!
//! 1. APIM's developer portal sends the browser to `/delegation`. [`portal::delegation::verify`]
//!    checks the signature; the salt is used up ([`store::delegations`]) and the browser goes on to
//!    a clean address.
//! 2. The consumer signs up (unless the developer portal keeps its own sign-in: then the user is looked
//!    up, `portal::directory`): [`store::accounts`] first, then the APIM user ([`apim::Apim::put_user`]),
//!    then back to the developer portal with a token ([`apim::Apim::mint_token`]).
//! 3. On `/subscribe/{product}` the order is written down ([`store::checkouts`]), with a Stripe
//!    customer that carries nothing on the same meter; then the Checkout session is made
//!    ([`stripe::Stripe::create_checkout_session`]) and the browser goes to Stripe. A free product
//!    goes straight to [`store::subscriptions`].
//! 4. Stripe's event arrives at `/webhooks/stripe`: [`webhook::signature::verify`], then
//!    [`store::inbox::keep`], then the 200.
//! 5. [`webhook::worker::Worker`] fetches the subscription as it is now, [`lifecycle::decide`] says
//!    which access is due, the intent is saved, APIM is brought to it, the outcome is saved.
//! 6. The page at `/checkout/{id}` has been waiting for that record, and shows the key
//!    ([`apim::Apim::keys`]).
//!
//! Events that never arrive are read from Stripe's list ([`webhook::gap`]), up to a mark that moves only
//! when everything before it is kept ([`store::watermark`]). Where the list does not reach, or the store
//! is lost, [`webhook::resync`] compares whole lists and hands what differs to the same worker.
//!
//! # The way of a day's usage
//!
//! 1. [`metering::schedule`] nudges each minute; the last complete run in [`store::jobs`] decides
//!    whether the daily job is due ([`metering::Metering::run_due`]).
//! 2. One query a day for all subscriptions ([`apim::UsageSource::usage_by_subscription`]) fills
//!    [`store::usage`]; the last days are read again, because usage arrives late.
//! 3. For each metered subscription the period's days ([`store::period::Period::days`]) are summed, and the
//!    total goes to Stripe's meter ([`stripe::Stripe::create_meter_event`]), later in time than the
//!    one before and under an identifier that was written down first. What Stripe takes and refuses
//!    later is noted by [`webhook`] ([`store::refusals`]), and the next run makes it anew.
//! 4. When Stripe drafts the period's invoice, the worker notes it in [`store::invoices`] and
//!    [`metering::close`] claims it, waits until usage has settled, reads the days again, reports
//!    the final total, compares Stripe's figures with [`catalogue::price::invoice`], and finalizes.
//! 5. [`metering::reconcile`] holds APIM, the store, the meter and the invoice against each other: once
//!    for each period by itself ([`store::comparisons`]), and when an operator asks. It names what puts
//!    each difference right. What a final invoice got wrong the customer's next one makes up for
//!    ([`store::corrections`]), or a person, who says so on the status page ([`store::settlements`]).
//!
//! Reports and comparisons go side by side (`metering::parallel`), within Stripe's limits
//! ([`outbound::Pace`], `stripe::turns`).
//!
//! # The way of a cancellation
//!
//! 1. The consumer confirms on `/account/subscriptions/{id}/cancel`, whether they came from there or
//!    from the developer portal; the wish is written down ([`store::cancellations`]).
//! 2. [`metering::Metering::end_subscriptions`] has Stripe end the subscription with its period. At once means: the usage
//!    is read and reported first, Stripe's meter has to show it, then the subscription is ended with
//!    a last invoice, which is closed like that of any period.
//! 3. The worker sees the subscription's new state and brings APIM to it, as always.
//!
//! # The way out
//!
//! `/account/close` writes the closing down ([`store::closings`]), and [`users::Users::work`] goes through its
//! steps: payments that could still be made are expired at Stripe, every subscription is cancelled at once
//! as above, and when the last invoice is final the APIM user is deleted, and what names the person.
//! Who closes the account in a developer portal that keeps its own sign-in is found missing there
//! ([`store::absences`]), and goes the same way.
//!
//! # Invariants, and what upholds them
//!
//! - **A webhook is answered only after its event is durable.** [`webhook`] awaits
//!   [`store::inbox::keep`], and [`store`] answers a write only after the commit, with
//!   `synchronous=FULL`.
//! - **An event is never acted on, only what it is about.** [`webhook::worker`] groups events by
//!   subject and fetches each subject anew; so order, repetition and delay do not matter.
//! - **An event that cannot be applied is never lost.** It stays in the inbox with its problem, is
//!   tried again with growing pauses, and ends as *needs attention* on the status page, where it can
//!   be retried, or dismissed by somebody with a name ([`admin`]).
//! - **A row that makes no sense hides no other.** [`store::subscriptions`] leaves it out and names
//!   it; the status page shows it.
//! - **Access follows from Stripe's state by one function,** [`lifecycle::decide`]. Nothing else
//!   writes the wanted access; [`portal`] only records what consumers want (a free subscription,
//!   which has no state at Stripe, is active from the start).
//! - **Intent before the call, outcome after it.** Orders, access, meter events and drafts are rows
//!   before they are requests, and every POST to Stripe carries a key that follows from its row. A
//!   process that dies in between repeats the same request.
//! - **Nothing is created twice in APIM.** The APIM subscription has the id of Stripe's, and is looked
//!   up before it is put ([`apim::Apim::put_subscription`]).
//! - **Usage is an absolute total.** [`metering`] reports the period so far to a meter with the formula
//!   `last`, so a later report repairs all earlier ones.
//! - **One customer never carries two live subscriptions on one meter,** open checkouts included:
//!   [`store::checkouts::free_customer`].
//! - **A day belongs to exactly one period,** the one in which it starts: [`store::period::Period::days`].
//! - **A subscription ends at Stripe only after its usage is reported,** and what is owed stays owed:
//!   [`metering::Metering::end_subscriptions`]. What the developer portal cancels in APIM by itself
//!   is active again until its consumer has confirmed.
//! - **A key is regenerated once,** however often the form is sent: the form names the key that it is
//!   to replace (`portal::keys`).
//! - **No invoice is finalized by us that differs from our own arithmetic.** [`metering::close`] holds
//!   it and says why. A draft is never left behind either: Stripe finalizes it at the backstop.
//! - **A report is later than all before it,** also than those of a store that is lost:
//!   [`metering`] asks the meter what it shows before the first report of a subscription that was
//!   found late ([`store::subscriptions::found_late`]).
//! - **A budget tells once and decides nothing.** What it reached, the message and the stop are one change
//!   ([`store::budgets`]), weighed after each reading; [`lifecycle::decide`] goes by the stop, and the
//!   worker follows it.
//! - **What is shown behind an invoice is what it was made from.** The days are copied before the
//!   finalization ([`store::evidence`]); what is read of them later shows as a difference.
//! - **Nothing is charged while Stripe does not collect.** A draft of an unpaid subscription, or of one
//!   whose collection is paused, waits ([`metering::close`]); the worker has drafts that were left behind
//!   finalized once the subscription is paid up.
//! - **"No usage" is not "no answer".** A day counts as read only when all of it was
//!   ([`store::usage::mark_collected`]); a day that shrinks keeps its larger reading.
//! - **An estimate is arithmetic, not a guess of its own.** [`catalogue::estimate`] says what a day that is
//!   not known is taken to come to; every amount on a page is [`catalogue::price::invoice`]'s.
//! - **Amounts are integers of minor units, rates are exact decimals.** [`catalogue::money`]; floats
//!   do not touch them (clippy denies float arithmetic).
//! - **A signed delegation request says where a browser comes from, not who it is.**
//!   [`portal::delegation`] checks ids after the signature, salts work once, and changes need our own
//!   session and form token.
//! - **Without a link to the address that APIM has for them, nothing of a user is shown or changed**
//!   where the developer portal keeps the sign-in: `portal::directory` says what a signature alone opens.
//!   Its users are only read; pages that would change one ask `kept_here` first.
//! - **A message is queued with what causes it, once,** and leaves later: [`store::mails`], [`mail`].
//!   Its link's token is made when it leaves, and kept only as a hash: [`store::links`].
//! - **Secrets are not printed.** [`secret::Secret`] has no `Display`, and its `Debug` shows nothing.
//! - **Time is an argument.** Only [`app`] holds a clock; in the demo and the tests it is the
//!   sandbox's.
//! - **SQL stands only in [`store`]**, and only [`config`] reads the environment.
//!
//! # Design decisions
//!
//! The code names them by their numbers.
//!
//! - **D1: APIM only through Azure Resource Manager.** Microsoft has retired the direct management
//!   API, and with it the check of a portal user's password: so accounts are ours, with argon2, and
//!   APIM gets a user with an id that we choose; or the developer portal keeps its own sign-in, and we
//!   keep no password ([`config::SignIn`]). A delegation signature proves little (see above).
//! - **D2: one HTTP stack** for Stripe and Azure, [`outbound`]. async-stripe gives typed requests;
//!   connections, idempotency keys, retries and limits are ours, because its own client hides them.
//!   Base URLs are settings, so there is no trait, no mock and no branch for tests.
//! - **D3: meters that keep the last value.** Reporting differences would bill twice or not at all
//!   after a crash; a total cannot. The price is that a meter tells only customers apart, hence one
//!   customer for each live subscription on it. The unit is the call, so nothing is floored.
//! - **D4: billing days are UTC days,** and metered periods are anchored to midnight, so that APIM's
//!   daily figures and Stripe's periods have the same edges. With a foreign anchor a day still belongs
//!   to one period.
//! - **D5: a metered period is closed by us.** Stripe bills nothing that arrives after finalization,
//!   and finalizes an hour after the draft: too early for usage that shows up late. The backstop
//!   stays on, so that our death costs accuracy and never the invoice.
//! - **D6: access follows Stripe's current state, not the event.** Events come late, twice and in any
//!   order.
//! - **D7: an inbox.** A webhook is verified and kept; applying is the worker's. Doing both in the
//!   request would make Stripe wait for Azure, and lose what fails.
//! - **D8: every effect can be repeated,** and *refused* differs from *outcome unknown* in the type
//!   ([`outbound::CallError`]): only the latter is sent again, as the same request.
//! - **D9: SQLite with one writer.** WAL mode, `synchronous=FULL`, and one thread that puts everything
//!   that waits into one transaction: durable and fast, without a server to look after.
//! - **D10: time is an argument.** A month of billing is tried in seconds, and tests never sleep.
//! - **D11: exact money.** [`catalogue::price`] computes any invoice as Stripe documents it; whatever
//!   shows or checks an amount uses it.
//! - **D12: usage comes from APIM's reports or from Log Analytics,** one query a day for all
//!   subscriptions and never one for each; both are one enum ([`apim::UsageSource`]). Which status classes count is the catalogue's choice; blocked calls never do.
//! - **D13: a sandbox in the binary,** written from the vendors' documentation and sharing nothing with
//!   what it tests, so that it cannot share a mistake. `demo` and all journeys run against it; `serve`
//!   never starts it.
//! - **D14: everything has a limit:** bodies, answers, time-outs, pages, batches, attempts, queues.

pub mod admin;
pub mod apim;
pub mod app;
pub mod catalogue;
pub mod config;
pub mod ids;
pub mod lifecycle;
pub mod mail;
pub mod metering;
pub mod nearest;
pub mod outbound;
pub mod portal;
pub mod sandbox;
pub mod secret;
pub mod store;
pub mod stripe;
pub mod sync;
pub mod users;
pub mod web;
pub mod webhook;
