// What the scripts that drive the sandbox's Stripe with the Node SDK share.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

// Found from the working directory, where tests/sdk/install has put it.
const Stripe = createRequire(`${process.cwd()}/`)("stripe");
const base = new URL(process.env.STRIPE_BASE);

export const connect = (key) =>
  new Stripe(key, {
    protocol: base.protocol.slice(0, -1),
    host: base.hostname,
    port: base.port,
    apiVersion: "2026-09-30.endive",
    maxNetworkRetries: 0,
  });
export const stripe = connect("sk_test_sandbox");
export const run = randomUUID().slice(0, 8);
export const refused = (call, expected) => assert.rejects(call, expected);

/** Polls until the condition gives something; the sandbox works in the background. */
export async function waitFor(condition, what) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const found = await condition();
    if (found) return found;
    await pause(100);
  }
  throw new Error(`did not happen: ${what}`);
}

export const newClock = (time) => stripe.testHelpers.testClocks.create({ frozen_time: time });

export async function advance(clock, to) {
  await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: to });
  await waitFor(
    async () => (await stripe.testHelpers.testClocks.retrieve(clock.id)).status === "ready",
    "the clock is ready",
  );
}

/** A customer who pays with a ready-made test card, if any. */
export async function customerWith(card, clock) {
  const customer = await stripe.customers.create({ test_clock: clock?.id });
  if (card) await payWith(customer, card);
  return customer;
}

export async function payWith(customer, card) {
  const method = await stripe.paymentMethods.attach(card, { customer: customer.id });
  const settings = { default_payment_method: method.id };
  await stripe.customers.update(customer.id, { invoice_settings: settings });
  return method;
}

/** Posts the card form of a hosted page as a browser does. */
export const submit = (page, number, more) =>
  fetch(page, {
    method: "POST",
    body: new URLSearchParams({
      email: "buyer@example.com",
      card_number: number,
      card_expiry: "12/34",
      card_cvc: "123",
      ...more,
    }),
    redirect: "manual",
  });
