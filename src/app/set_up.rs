//! The set-up with its memory: what `sync` creates at Stripe and shows only once is kept.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::apim::Apim;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::outbound::CallError;
use crate::secret::Secret;
use crate::store::{Store, StoreError, settings};
use crate::stripe::Stripe;
use crate::sync::Sync;
use crate::sync::apply::{Applied, ApplyError};
use crate::sync::plan::Plan;

/// The set-up of one installation. All its calls block.
pub struct SetUp {
    sync: Sync,
    configured_secrets: bool,
    store: Store,
}

/// Why the set-up could not go on. What was done before stays done; run it again.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("could not read what is there")]
    Read(#[source] CallError),
    #[error("could not do everything")]
    Apply(#[source] Box<ApplyError>),
    #[error("could not keep the webhook's secret: run `sync apply` again")]
    Store(#[from] StoreError),
}

impl SetUp {
    pub fn new(config: &Config, catalogue: Catalogue) -> Result<Self, StoreError> {
        Ok(Self {
            sync: Sync {
                stripe: Stripe::new(&config.stripe),
                apim: Apim::new(&config.apim),
                catalogue: Arc::new(catalogue),
                public_url: config.portal.public_url.clone(),
                sign_in: config.portal.sign_in,
                delegation_keys: config.portal.delegation_keys.clone(),
                webhook_secret_known: false,
            },
            configured_secrets: !config.stripe.webhook_secrets.is_empty(),
            store: Store::open(&config.store.path)?,
        })
    }

    /// What would have to change.
    pub fn plan(&self) -> Result<Plan, SetUpError> {
        self.sync()?.plan().map_err(SetUpError::Read)
    }

    /// Changes it; says in sentences what was done.
    pub fn apply(&self, plan: &Plan, now: DateTime<Utc>) -> Result<Vec<String>, SetUpError> {
        match self.sync()?.apply(plan, now) {
            Ok(applied) => self.keep(applied),
            Err(error) => {
                self.keep(error.applied.clone())?;
                Err(SetUpError::Apply(Box::new(error)))
            }
        }
    }

    /// Every difference that is left, as a sentence.
    pub fn verify(&self) -> Result<Vec<String>, SetUpError> {
        self.sync()?.verify().map_err(SetUpError::Read)
    }

    fn sync(&self) -> Result<Sync, StoreError> {
        let kept = self
            .store
            .read(|db| settings::get(db, settings::WEBHOOK_SECRET))?;
        let webhook_secret_known = self.configured_secrets || kept.is_some();
        Ok(Sync {
            webhook_secret_known,
            ..self.sync.clone()
        })
    }

    fn keep(&self, applied: Applied) -> Result<Vec<String>, SetUpError> {
        if let Some(secret) = applied.webhook_secret {
            self.keep_secret(secret)?;
        }
        Ok(applied.done)
    }

    fn keep_secret(&self, secret: Secret) -> Result<(), StoreError> {
        let change = move |db: &rusqlite::Connection| {
            settings::set(db, settings::WEBHOOK_SECRET, secret.expose())
        };
        self.store.write(change).wait()
    }
}
