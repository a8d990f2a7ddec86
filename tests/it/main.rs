//! Journeys through the whole product over HTTP, against the sandbox.
#![cfg(test)]

mod browser;
mod journey;
mod log;
mod support;

mod access;
mod account;
mod arithmetic;
mod bill;
mod budget;
mod cancel;
mod checkout;
mod cli;
mod close;
mod comparison;
mod delegation;
mod demo;
mod faults;
mod held;
mod inbox;
mod keys;
mod mail;
mod metering;
mod missed;
mod portal_absence;
mod portal_users;
mod profile;
mod purchase;
mod reconcile;
mod refused;
mod resync;
mod sources;
mod status;
mod webhook;
